"""The preview page as a user meets it: in Chromium, without a network, over a scorer that asks for keys."""

import json

import httpx
import pytest
from axe_core_python.selenium import Axe
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from knownat.contract.feedback import list_bundles
from serving.keys import KEYS_FILE, Scope, add_key
from tests.serving.parcels import MODEL, NOW_US, make_parcels
from tests.serving.running import serving
from tests.serving.test_preview import previewing

pytestmark = pytest.mark.xdist_group("preview")


@pytest.fixture
def parcels(tmp_path):
    return make_parcels(tmp_path / "parcels")


@pytest.fixture
def key(parcels):
    scopes = frozenset({Scope.EXPLAIN, Scope.FEEDBACK})
    return add_key(parcels.workspace.home / KEYS_FILE, "desk", scopes, now_us=NOW_US, days=None)[1]


def by_id(browser, name):
    return browser.find_element(By.ID, name)


def shown(browser, name):
    return WebDriverWait(browser, 30).until(lambda b: by_id(b, name).is_displayed() and by_id(b, name))


def fill(browser, name, text):
    by_id(browser, name).clear()
    by_id(browser, name).send_keys(text)


def complaints(browser):
    return [entry["message"] for entry in browser.get_log("browser")]


def asked_for(browser):
    """Every host that the browser asked."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return {url.split("/")[2] for url in sent if url.startswith("http")}


def faults_of_access(browser):
    """What axe finds that would keep somebody from using the page as it stands."""
    found = Axe().run(browser)["violations"]
    return [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in found]


def fits(browser):
    return browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")


def test_a_user_asks_sees_why_and_says_what_is_odd(parcels, key, chromium):
    browser = chromium(1280)
    with serving(parcels) as running:
        running.clock.move_to(NOW_US)
        browser.get(f"{running.url}/v1/models/{MODEL}/preview")

        shown(browser, "access")
        by_id(browser, "key").send_keys("no key" + Keys.ENTER)
        WebDriverWait(browser, 30).until(lambda b: "needs a key" in by_id(b, "access-why").text)
        fill(browser, "key", key + Keys.ENTER)

        shown(browser, "ask")
        assert faults_of_access(browser) == []
        assert by_id(browser, "standing").text == "In production\nVersion 1 answers as champion."
        Select(by_id(browser, "examples")).select_by_index(1)
        assert by_id(browser, "inputs-weight_kg").get_attribute("value") == "7.0"

        fill(browser, "keys-depot_id", "one" + Keys.ENTER)
        assert by_id(browser, "problems").text == "depot_id must be a whole number."
        assert by_id(browser, "keys-depot_id").get_attribute("aria-invalid") == "true"
        fill(browser, "keys-depot_id", "1" + Keys.ENTER)

        shown(browser, "answer")
        score = float(by_id(browser, "score").text)
        assert f"{100 * score:.0f}." in by_id(browser, "score-more").text
        assert len(browser.find_elements(By.CSS_SELECTOR, "#chart rect.up, #chart rect.down")) == 4
        assert "depot__delay_mean_min_1d = 52.5" in by_id(browser, "chart").text
        assert by_id(browser, "views").text == "depot present 60 min"
        assert not by_id(browser, "degraded").is_displayed()

        by_id(browser, "comment").send_keys("Never late on a Friday.")
        by_id(browser, "send").click()
        WebDriverWait(browser, 30).until(lambda b: by_id(b, "said").text.startswith("Kept as "))

        (bundle,) = list_bundles(parcels.workspace.feedback)
        assert bundle.comment == "Never late on a Friday."
        assert bundle.feedback_id in by_id(browser, "said").text
        assert bundle.score == pytest.approx(score, abs=1e-4)
        assert bundle.prediction_id == by_id(browser, "prediction-id").text
        assert asked_for(browser) == {running.url.removeprefix("http://")}
    assert all("401" in message for message in complaints(browser))


def test_a_candidate_is_marked_and_asked_by_keyboard_alone_on_a_phone(parcels, chromium):
    parcels.publish("2", opposite=True)
    browser = chromium(500)  # Chromium makes no window narrower
    with previewing(parcels, "2") as said:
        browser.get(said["page"])
        shown(browser, "ask")
        assert by_id(browser, "standing").text.startswith("Not production\nVersion 2 is a candidate")
        assert browser.title == "late_parcel 2 (not production)"

        def tab_to(name):
            for _ in range(40):
                if browser.switch_to.active_element.get_attribute("id") == name:
                    return browser.switch_to.active_element
                ActionChains(browser).send_keys(Keys.TAB).perform()
            raise AssertionError(f"no way to {name} by keyboard")

        tab_to("keys-depot_id").send_keys("99")
        tab_to("predict").send_keys(Keys.ENTER)
        shown(browser, "answer")
        assert by_id(browser, "views").text == "depot ⚠ not found"
        assert by_id(browser, "degraded").is_displayed()
        tab_to("comment").send_keys("Where is depot 99?")
        tab_to("send").send_keys(Keys.ENTER)
        WebDriverWait(browser, 30).until(lambda b: by_id(b, "said").text.startswith("Kept as "))

        controls = browser.find_elements(By.CSS_SELECTOR, "input, select, textarea")
        labels = {label.get_attribute("for") for label in browser.find_elements(By.TAG_NAME, "label")}
        assert {control.get_attribute("id") for control in controls} == labels
        assert faults_of_access(browser) == []
        assert fits(browser)
    assert complaints(browser) == []
    (bundle,) = list_bundles(parcels.workspace.feedback)
    assert (bundle.version, bundle.role) == ("2", "pinned")


def test_of_several_classes_a_user_sees_what_speaks_for_the_likeliest(tmp_path, chromium):
    parcels = make_parcels(tmp_path / "classes", classes=3)
    browser = chromium(1280)
    with serving(parcels) as running:
        running.clock.move_to(NOW_US)
        browser.get(f"{running.url}/v1/models/{MODEL}/preview")
        shown(browser, "ask")
        fill(browser, "inputs-weight_kg", "7")
        fill(browser, "keys-depot_id", "1" + Keys.ENTER)
        shown(browser, "answer")
        body = {"keys": {"depot_id": 1}, "inputs": {"weight_kg": 7.0}}
        asked = httpx.post(f"{running.url}/v1/models/{MODEL}/predict?explain=true", json=body).json()
        told = asked["predictions"][0]

        assert by_id(browser, "score-more").text == f"the share of class {told['class']}, the likeliest of 3"
        assert f"What speaks for class {told['class']}" in by_id(browser, "why-scale").text
        first = told["explanation"]["contributions"][0]
        named = browser.find_element(By.CSS_SELECTOR, "#all tr td").get_attribute("textContent")
        assert named == first["feature"]
        assert faults_of_access(browser) == []
