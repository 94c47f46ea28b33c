"""The catalogue's pages as a colleague meets them: from a disk, by keyboard, on a phone, with no network."""

import json

import pytest
from axe_core_python.selenium import Axe
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from knownat.contract.workspace import Workspace
from knownat.stores.catalogue_pages import measure_all, write_pages
from knownat.stores.repo import open_repo
from tests.stores import shop
from tests.stores.catalogued import catalogue_shop


@pytest.fixture(scope="module")
def index(applied_shop, tmp_path_factory):
    path = catalogue_shop(applied_shop[0], tmp_path_factory.mktemp("paged"))
    workspace = Workspace.at(path)
    output = workspace.reports / "features"
    return write_pages(measure_all(open_repo(path)), output, workspace=workspace, now=shop.at(300))


def find(browser, selector):
    return browser.find_elements(By.CSS_SELECTOR, selector)


def asked_for(browser):
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert any(url.startswith("file:") for url in sent)
    return [url for url in sent if not url.startswith(("file:", "data:", "chrome:", "blob:", "about:"))]


def faults_of_access(browser):
    found = Axe().run(browser)["violations"]
    return [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in found]


def fits(browser):
    return browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")


def test_a_colleague_finds_a_feature_and_whom_to_tell(index, chromium):
    browser = chromium(1280)
    browser.get(index.as_uri())
    assert len(find(browser, ".entry")) == 3

    # By keyboard alone: the second stop is the box, after the way past it.
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "To the list"
    while browser.switch_to.active_element.tag_name != "input":
        browser.switch_to.active_element.send_keys(Keys.TAB)
    browser.switch_to.active_element.send_keys("value eur")
    assert [e.text for e in find(browser, ".entry h2") if e.is_displayed()] == ["customer_orders"]
    assert browser.find_element(By.ID, "found").text == "1 of 3 views"
    browser.switch_to.active_element.send_keys(Keys.TAB)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    WebDriverWait(browser, 30).until(lambda b: b.title == "customer_orders")

    text = browser.find_element(By.TAG_NAME, "main").text
    assert "release churn 3 (champion), crm@example.org" in text
    assert "Tell before it changes: crm@example.org" in text
    assert "Online up to\n6 Apr 2024, 08:00 UTC" in text
    assert "bytes an entity" in text
    assert "questions churn 3 was trained on" in text
    # A feature that no release reads is drawn from its table.
    assert [svg.rect["height"] > 0 for svg in find(browser, "svg")] == [True] * 5

    browser.find_element(By.LINK_TEXT, "model card").click()
    WebDriverWait(browser, 30).until(lambda b: b.find_element(By.TAG_NAME, "body").text == "the card")
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    assert asked_for(browser) == []


def test_the_pages_fit_a_phone(index, chromium):
    browser = chromium(500)  # Chromium makes no window narrower
    for page in sorted(index.parent.glob("*.html")):
        browser.get(page.as_uri())
        assert fits(browser), page.name
        assert faults_of_access(browser) == [], page.name
        labelled = [e.get_attribute("aria-label") for e in find(browser, "svg")]
        assert all(labelled), page.name
    assert [entry["message"] for entry in browser.get_log("browser")] == []


def test_every_link_between_the_pages_leads_somewhere(index, chromium):
    browser = chromium(1280)
    for page in sorted(index.parent.glob("*.html")):
        browser.get(page.as_uri())
        for link in find(browser, "a[href]"):
            target, _, anchor = link.get_attribute("href").partition("#")
            if target.startswith("file:"):
                file = index.parent / target.removeprefix("file://")
                assert file.is_file(), target
                assert not anchor or f'id="{anchor}"' in file.read_text(), (target, anchor)
