from dataclasses import replace
from html.parser import HTMLParser

import pytest

from monitoring.charts import draw_buckets, draw_trend
from monitoring.pages import Entry, index, no_report, page
from monitoring.pipeline import profile_window, summarize
from monitoring.source import read_evidence
from monitoring.summary import Bucket, Level, Summary, Verdict
from monitoring.windows import Window
from tests.monitoring.shop_log import END, MODEL, START, make_features


class Outline(HTMLParser):
    """What a page asks a browser to fetch or run, and the text a reader sees."""

    def __init__(self, text):
        super().__init__()
        self.fetched, self.links, self.scripts, self.seen = [], [], 0, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.scripts += tag == "script"
        self.fetched += [given[name] for name in ("src", "srcset", "data", "poster") if name in given]
        if "href" in given:
            (self.links if tag == "a" else self.fetched).append(given["href"])

    def handle_data(self, data):
        self.seen.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.seen).split())


@pytest.fixture(scope="module")
def summary(trained) -> Summary:
    evidence = read_evidence(trained.workspace, MODEL, Window(START, END))
    answered = trained.rows(make_features(1_000, seed=3, shift=0.7))
    filled = replace(evidence, predictions=answered, other_rows={"v0 as shadow": 5})
    return summarize(filled, profile_window(filled), Window(START, END), now=END)


def pages(summary):
    yield page(summary, charted=True)
    yield no_report(summary)
    yield index([Entry(summary, "a/b/page.html")])
    yield index([], unreadable=["a/b/summary.json"])


def test_no_page_fetches_or_runs_anything(summary):
    for text in pages(summary):
        outline = Outline(text)
        assert outline.fetched == ["data:,"]
        assert outline.scripts == 0
        assert "url(" not in text
        assert "@import" not in text


def test_a_page_says_in_words_what_was_measured(summary):
    text = Outline(page(summary, charted=True)).text

    assert "Watch" in text
    assert "The scores drifted (PSI" in text
    assert "Not measured: labels are judged 48 h after the question, and none is that old." in text
    assert "None found: every model column is there" in text
    assert "1 of 6" in text
    assert "5 by v0 as shadow" in text


def test_the_evidently_report_is_linked_only_where_it_has_charts(summary):
    assert "report.html" in Outline(page(summary, charted=True)).links
    assert "report.html" not in Outline(page(summary, charted=False)).links


def test_names_are_text_never_markup(summary):
    rude = summary.model_copy(update={"description": "<script>alert(1)</script>", "version": "<b>"})

    for text in pages(rude):
        assert Outline(text).scripts == 0
        assert "<b>" not in text


def at_level(summary, level, *, model=MODEL, end=END):
    verdict = Verdict(level=level, reasons=("because",))
    return summary.model_copy(update={"verdict": verdict, "model": model, "end": end})


def test_the_index_has_the_worst_model_and_the_newest_window_first(summary):
    entries = [
        Entry(at_level(summary, Level.OK, model="calm"), "calm/page.html"),
        Entry(at_level(summary, Level.OK, end=START.replace(day=5)), "loud/old.html"),
        Entry(at_level(summary, Level.ALERT, end=START.replace(day=9)), "loud/new.html"),
    ]

    assert Outline(index(entries)).links == ["loud/new.html", "loud/old.html", "calm/page.html"]


def test_the_index_names_what_cannot_be_read(summary):
    text = Outline(index([], unreadable=["a/b/summary.json"])).text

    assert "a/b/summary.json" in text
    assert "No window has been judged yet" in text


def test_a_trend_has_one_coloured_point_a_known_value_and_the_release():
    drawn = draw_trend([(0.8, Level.OK), (None, Level.WATCH), (0.7, Level.ALERT)], reference=0.8, label="AUC")

    assert drawn.count("<circle") == 2
    assert 'class="alert"' in drawn
    assert 'class="watch"' not in drawn
    assert drawn.count('class="release"') == 1
    assert draw_trend([(None, Level.OK)], reference=0.8, label="AUC") == ""


def test_bars_are_labelled_and_escaped():
    drawn = draw_buckets([Bucket(label="<x>", baseline=0.5, window=1.0)], label='"city"')

    assert "&lt;x&gt;: 100.0%, baseline 50.0%" in drawn
    assert 'aria-label="&#34;city&#34;"' in drawn
    assert draw_buckets([], label="none") == ""
