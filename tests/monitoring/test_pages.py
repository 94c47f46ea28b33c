from dataclasses import replace
from html.parser import HTMLParser

import pytest

from knownat.contract.verdict import Action, ModelVerdict
from knownat.contract.workspace import Workspace
from monitoring.catalogue import Catalogue
from monitoring.causes import Cause
from monitoring.charts import draw_buckets, draw_trend
from monitoring.judgement import profile_window, summarize
from monitoring.pages import Entry, Found, ModelPage, model_page, overview, page
from monitoring.skew_report import ColumnSkew, Example, SkewReport
from monitoring.source import read_evidence
from monitoring.summary import Bucket, Level, Summary
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
    model = ModelPage(summary.model, None, (Entry(summary, "b/page.html"),), problem="none yet")
    yield page(summary, Found(charts=True, outcomes=True))
    yield model_page(model)
    yield overview([model])
    yield overview([], unreadable=["a/b/summary.json"])


def test_no_page_fetches_or_runs_anything(summary):
    for text in pages(summary):
        outline = Outline(text)
        assert outline.fetched == ["data:,"]
        assert outline.scripts == 0
        assert "url(" not in text
        assert "@import" not in text


def test_a_page_says_in_words_what_was_measured(summary):
    text = Outline(page(summary, Found(charts=True))).text

    assert "Watch" in text
    assert "The scores drifted (PSI" in text
    assert "Not measured: labels are judged 48 h after the question, and none is that old." in text
    assert "None found: every model column is there" in text
    assert "1 of 6" in text
    assert "5 by v0 as shadow" in text


def test_the_evidently_report_is_linked_only_where_it_has_charts(summary):
    assert "report.html" in Outline(page(summary, Found(charts=True))).links
    assert "report.html" not in Outline(page(summary, Found())).links


def test_names_are_text_never_markup(summary):
    rude = summary.model_copy(update={"description": "<script>alert(1)</script>", "version": "<b>"})

    for text in pages(rude):
        assert Outline(text).scripts == 0
        assert "<b>" not in text


def model_at(action, *, model=MODEL, entries=(), **changes):
    verdict = ModelVerdict(
        model=model,
        version="3",
        action=action,
        since=START,
        reasons=("because",),
        owner="growth@example.org",
        runbook="docs/runbook.md",
        as_of=END,
        judged_at=END,
        votes=(),
    )
    return ModelPage(model, verdict, tuple(entries), **changes)


def test_the_overview_has_the_model_first_that_asks_for_most(summary):
    models = [
        model_at(action, model=action.value, entries=[Entry(summary, "w/page.html")])
        for action in (Action.OK, Action.RETRAIN, Action.WATCH, Action.ALERT)
    ]

    links = [link for link in Outline(overview(models)).links if link.count("/") == 1]

    assert list(dict.fromkeys(links)) == [
        f"{name}/index.html" for name in ("alert", "retrain", "watch", "ok")
    ]


def test_the_overview_says_what_a_person_needs_first(summary):
    text = Outline(overview([model_at(Action.ALERT, entries=[Entry(summary, "w/page.html")])])).text

    assert (
        "Alert since 4 Mar 2024, 00:00 UTC Because. Owner growth@example.org. Runbook: docs/runbook.md"
        in text
    )


def test_a_model_without_a_verdict_asks_for_a_look(summary):
    model = ModelPage(MODEL, None, (Entry(summary, "w/page.html"),), problem="it cannot be read")

    assert "Watch No verdict: It cannot be read." in Outline(overview([model])).text


def test_a_message_that_waits_is_told():
    text = Outline(model_page(model_at(Action.ALERT, untold="hooks.example.org: it answered 503"))).text

    assert "The webhook could not be told: hooks.example.org: it answered 503. The next run" in text


def test_a_models_page_lists_its_windows_newest_first(summary):
    entries = [Entry(summary, "old/page.html"), Entry(summary, "new/page.html")]

    links = Outline(model_page(model_at(Action.OK, entries=entries))).links

    assert [link for link in links if link.endswith("page.html")] == ["new/page.html", "old/page.html"]


def test_the_catalogue_is_linked_where_it_was_written(summary, tmp_path):
    workspace = Workspace.at(tmp_path / "feature_repo")
    window = workspace.reports / MODEL / "w"
    assert Catalogue.seen_from(workspace, window) is None
    (workspace.reports / "features").mkdir(parents=True)
    for name in ("index", "orders"):
        (workspace.reports / "features" / f"{name}.html").touch()
    entries = [Entry(summary, "w/page.html")]
    model = model_at(
        Action.OK, entries=entries, catalogue=Catalogue.seen_from(workspace, workspace.reports / MODEL)
    )

    links = Outline(page(summary, Found(catalogue=Catalogue.seen_from(workspace, window)))).links

    assert "../../features/index.html" in links
    assert "../../features/orders.html#order_value_eur_30d" in links
    assert not any("city" in link for link in links)
    assert "../features/index.html" in Outline(model_page(model)).links
    from_above = Catalogue.seen_from(workspace, workspace.reports)
    assert "features/index.html" in Outline(overview([model], catalogue=from_above)).links


def test_differences_from_training_stand_with_their_causes(summary):
    skew = SkewReport(
        asked=900,
        rows=300,
        values=1_800,
        columns=(
            ColumnSkew(
                column="orders__is_member",
                causes={Cause.MISMATCH: 7, Cause.LAG: 2},
                examples=(
                    Example(prediction_id="p1", cause=Cause.MISMATCH, served="True", offline="False"),
                    Example(prediction_id="p2", cause=Cause.LAG, served="True", offline="no value"),
                ),
            ),
        ),
    )

    text = Outline(page(summary, Found(skew=skew))).text

    assert "300 of 900 predictions (a sample), 1,800 values: 9 differ" in text
    assert "true mismatch 7 True False p1" in text
    assert "materialization lag 2 True no value p2" in text


def test_the_overview_names_what_cannot_be_read():
    text = Outline(overview([], unreadable=["a/b/summary.json"], problems=["incidents.toml: no"])).text

    assert "a/b/summary.json" in text
    assert "incidents.toml: no" in text
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
