"""The site as an analyst meets it: opened from disk in Chromium, with the network off."""

import json
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from axe_core_python.selenium import Axe
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from knownat.clock import FixedClock, to_us
from monitoring.incidents import Incident, mark_incident
from monitoring.jobs import Job
from monitoring.runs import Work, monitor_models
from monitoring.windows import windows_between
from tests.monitoring.shop_log import END, MODEL, START, make_features, make_labels

pytestmark = pytest.mark.xdist_group("evidently")
_LOADED_FROM_DISK = ("file:", "data:", "chrome:", "blob:", "about:")
HALF = timedelta(hours=12)
GRAVE = {"serious", "critical"}


@pytest.fixture
def site(shop):
    """Two windows that drifted, one with a fault and an incident, with a catalogue beside them."""
    features = make_features(1_000, seed=3, shift=0.7)
    labels = make_labels(features, seed=9)
    ages = features["profile__age_days"].to_numpy().copy()
    ages[:500] = np.nan
    place = features.column_names.index("profile__age_days")
    broken = features.set_column(place, "profile__age_days", pa.array(ages, from_pandas=True))
    shop.post_labels(shop.log(broken), labels, after=timedelta(hours=5))
    mark_incident(shop.workspace, Incident(start=START, end=START + HALF, text="The table was empty."))
    (shop.workspace.reports / "features").mkdir(parents=True)
    for name in ("index", "orders"):
        (shop.workspace.reports / "features" / f"{name}.html").write_text("<title>Features</title>")
    now = FixedClock(to_us(END + timedelta(hours=48)))
    work = Work((Job.JUDGE, Job.CHARTS, Job.PAGES), windows_between(START, END, HALF))
    (run,) = monitor_models(shop.workspace, [MODEL], work, clock=now, progress=lambda *_: None)
    assert run.problems == []
    return shop.workspace.reports


def windows(site):
    return sorted(site.glob(f"{MODEL}/*/page.html"))


def find(browser, selector):
    return browser.find_elements(By.CSS_SELECTOR, selector)


def complaints(browser):
    return [entry["message"] for entry in browser.get_log("browser")]


def asked_for(browser):
    """Every address that the pages opened so far made the browser ask for, from elsewhere than disk."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert any(url.startswith("file:") for url in sent)
    return [url for url in sent if not url.startswith(_LOADED_FROM_DISK)]


def fits(browser):
    return browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")


def focused(browser):
    return browser.switch_to.active_element


def walk_to(browser, text):
    """Press Tab until a link of this text has the focus, and Enter."""
    for _ in range(60):
        focused(browser).send_keys(Keys.TAB)
        if focused(browser).tag_name == "a" and focused(browser).text == text:
            assert focused(browser).value_of_css_property("outline-style") == "solid"
            focused(browser).send_keys(Keys.ENTER)
            return
    raise AssertionError(f"no way to '{text}' by keyboard")


def test_an_analyst_walks_by_keyboard_from_the_overview_to_the_charts(site, chromium):
    browser = chromium(1280)
    browser.get((site / "index.html").as_uri())

    # What a person needs first: what, since when, why, whose, and what to do.
    first = find(browser, "section .banner")[0].text
    assert first.startswith("■\nAlert\nsince 4 Mar 2024, 12:00 UTC")
    assert "profile__age_days: no value at all" in first
    assert "Owner growth@example.org. Runbook: docs/how-to/runbook.md" in first

    walk_to(browser, MODEL)
    WebDriverWait(browser, 30).until(lambda b: b.title == f"{MODEL}: Alert")
    assert [e.text for e in find(browser, "h2")] == ["Timeline", "Versions", "Incidents", "Windows"]
    assert len(find(browser, "svg.timeline circle")) == 2
    assert find(browser, "svg.timeline rect.incident")
    assert [e.text for e in find(browser, "tbody .verdict")] == ["●\nOK", "■\nAlert"]

    walk_to(browser, "4 Mar 2024, 12:00 \u2013 5 Mar, 00:00")
    WebDriverWait(browser, 30).until(lambda b: b.title.startswith(f"{MODEL}, "))
    assert [e.text for e in find(browser, "h2")] == [
        "Performance",
        "Faults in the data",
        "Where the features came from",
        "Drift",
    ]
    assert all(svg.rect["height"] > 0 for svg in find(browser, "svg.buckets") if svg.is_displayed())
    assert find(browser, "svg.buckets")[0].is_displayed()
    assert find(browser, "a[href='../../features/orders.html#order_value_eur_30d']")

    walk_to(browser, "Evidently's report")
    WebDriverWait(browser, 60).until(lambda b: "recall" in b.find_element(By.TAG_NAME, "body").text.lower())
    browser.back()
    browser.find_elements(By.LINK_TEXT, "Evidently's report")[-1].click()
    WebDriverWait(browser, 60).until(
        lambda b: "Drift is detected" in b.find_element(By.TAG_NAME, "body").text
    )
    assert "orders__order_value_eur_30d" in browser.find_element(By.TAG_NAME, "body").text
    assert find(browser, "table svg")

    assert complaints(browser) == []
    assert asked_for(browser) == []


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_every_page_fits_its_screen_and_has_no_serious_fault_of_accessibility(site, chromium, width, colours):
    browser = chromium(1280)
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    media = [{"name": "prefers-color-scheme", "value": colours}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})

    for path in (site / "index.html", site / MODEL / "index.html", *windows(site)):
        browser.get(path.as_uri())
        for details in find(browser, "details"):
            browser.execute_script("arguments[0].open = true", details)
        found = Axe().run(browser)["violations"]
        grave = [(fault["id"], fault["nodes"][0]["html"]) for fault in found if fault["impact"] in GRAVE]
        assert grave == [], path
        assert fits(browser), path
        if width < 500:
            assert all(e.value_of_css_property("display") == "block" for e in find(browser, "td")[:3])
    assert complaints(browser) == []


def test_a_phone_shows_the_newest_end_of_the_timeline_first(site, chromium):
    browser = chromium(1280)
    screen = {"width": 390, "height": 900, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get((site / MODEL / "index.html").as_uri())

    newest, oldest = find(browser, "svg.timeline circle")[-1], find(browser, "svg.timeline circle")[0]

    def shown(element):
        place = browser.execute_script("return arguments[0].getBoundingClientRect().left", element)
        return 0 < place < 390

    assert shown(newest)
    assert not shown(oldest)
