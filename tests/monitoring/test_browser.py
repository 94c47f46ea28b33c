"""The pages as an analyst meets them: opened from disk in Chromium, with the network off."""

import json
from datetime import timedelta

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from knownat.clock import FixedClock, to_us
from monitoring.pipeline import monitor_window
from tests.monitoring.shop_log import END, MODEL, START, make_features, make_labels

pytestmark = pytest.mark.xdist_group("evidently")
_LOADED_FROM_DISK = ("file:", "data:", "chrome:", "blob:", "about:")


@pytest.fixture
def judged(shop):
    """Two windows that drifted and were measured; the newer one."""
    features = make_features(1_000, seed=3, shift=0.7)
    labels = make_labels(features, seed=9)
    shop.post_labels(shop.log(features), labels, after=timedelta(hours=5))
    now = FixedClock(to_us(END + timedelta(hours=48)))
    middle = START + timedelta(hours=12)
    monitor_window(shop.workspace, MODEL, start=START, end=middle, clock=now)
    return monitor_window(shop.workspace, MODEL, start=middle, end=END, clock=now)


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


def test_an_analyst_walks_from_the_index_to_the_charts(judged, chromium):
    browser = chromium(1280)
    browser.get((judged.folder.parents[1] / "index.html").as_uri())

    assert [e.text for e in find(browser, "tbody .verdict")] == ["●\nOK", "●\nOK"]
    assert len(find(browser, "svg.trend circle")) == 2

    # By keyboard alone: the windows are links in the order of reading.
    while browser.switch_to.active_element.tag_name != "a":
        browser.switch_to.active_element.send_keys(Keys.TAB)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    WebDriverWait(browser, 30).until(lambda b: b.title.startswith(MODEL))
    assert [e.text for e in find(browser, "h2")] == [
        "Performance",
        "Faults in the data",
        "Where the features came from",
        "Drift",
    ]
    assert all(svg.rect["height"] > 0 for svg in find(browser, "svg.buckets") if svg.is_displayed())
    assert find(browser, "svg.buckets")[0].is_displayed()

    browser.find_element(By.LINK_TEXT, "Evidently's report").click()
    WebDriverWait(browser, 60).until(
        lambda b: "Drift is detected" in b.find_element(By.TAG_NAME, "body").text
    )
    assert "orders__order_value_eur_30d" in browser.find_element(By.TAG_NAME, "body").text
    assert find(browser, "table svg")

    assert complaints(browser) == []
    assert asked_for(browser) == []


def test_the_pages_fit_a_phone(judged, chromium):
    browser = chromium(500)  # Chromium makes no window narrower

    for path in (judged.folder.parents[1] / "index.html", judged.folder / "page.html"):
        browser.get(path.as_uri())
        assert fits(browser)
        assert find(browser, "td")[0].value_of_css_property("display") == "block"
    assert complaints(browser) == []
