"""The whole job on real tables through the real Evidently: whatever the data, a report comes out."""

import json
import os
import subprocess
import sys
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from knownat.clock import FileClock, FixedClock, to_us
from knownat.contract.report_files import TRAINING_VALUES
from monitoring.causes import Cause
from monitoring.jobs import Job
from monitoring.pipeline import monitor_window
from monitoring.site import write_site
from monitoring.skew_report import ColumnSkew, SkewReport
from monitoring.summary import Culprit, FaultKind, Level, PerformanceStatus, Summary
from monitoring.window_files import SKEW
from tests.monitoring.shop_log import END, MODEL, PLAN, START, make_features, make_labels

# Evidently costs seconds to import: one worker does so.
pytestmark = pytest.mark.xdist_group("evidently")

MATURED = END + timedelta(hours=48)
VALUE, CITY, AGE = "orders__order_value_eur_30d", "profile__city", "profile__age_days"
ROWS = 700


WITH_CHARTS = (Job.JUDGE, Job.CHARTS, Job.PAGES)


def judge(shop, *, now=MATURED, jobs=(Job.JUDGE, Job.PAGES), again=False):
    clock = FixedClock(to_us(now))
    return monitor_window(shop.workspace, MODEL, start=START, end=END, clock=clock, jobs=jobs, again=again)


def answer(shop, features, *, noise=1.0, labelled=True, **columns):
    """Fill the log with the answers to these questions, and the labels that came."""
    predictions = shop.log(features, **columns)
    if labelled:
        whole = features if VALUE in features.column_names else make_features(features.num_rows, seed=3)
        shop.post_labels(predictions, make_labels(whole, seed=9, noise=noise), after=timedelta(hours=5))
    return predictions


def changed(name, values):
    features = make_features(ROWS, seed=3)
    place = features.column_names.index(name)
    return features.set_column(place, name, values)


def shown_by_evidently(report):
    text = (report.folder / "report.html").read_text()
    return [name for name in ("score", *(f.column for f in report.summary.features)) if f'"{name}"' in text]


def test_a_usual_window_is_ok_and_its_report_is_whole(shop):
    answer(shop, make_features(ROWS, seed=3))

    report = judge(shop, jobs=WITH_CHARTS)

    assert report.summary.verdict.level is Level.OK
    assert report.summary.drifted == ()
    assert {path.name for path in report.folder.iterdir()} == {
        "inputs.json",
        "page.html",
        "performance.html",
        "report.html",
        "summary.json",
    }
    assert report.folder.name == "20240304T000000Z_20240305T000000Z"
    assert Summary.model_validate_json((report.folder / "summary.json").read_bytes()) == report.summary
    write_site(shop.workspace)
    assert f"{MODEL}/{report.folder.name}/page.html" in (shop.workspace.reports / "index.html").read_text()
    # Evidently's file has its charting library inside; a few kB would be a report without one.
    assert (report.folder / "report.html").stat().st_size > 3_000_000
    assert len(shown_by_evidently(report)) == 7


def test_evidently_shows_our_numbers(shop):
    answer(shop, make_features(ROWS, seed=3, shift=0.7))

    report = judge(shop, jobs=WITH_CHARTS)

    text = (report.folder / "report.html").read_text()
    assert [feature.column for feature in report.summary.drifted] == [VALUE]
    for drift in (report.summary.score, *report.summary.features):
        assert f'"drift_score": {round(drift.psi, 6)}' in text
    assert "PSI by quantile" in text
    assert "2 out of 7" in text


def test_drift_alone_changes_no_verdict(shop):
    # The inputs moved, the model kept its AUC: the season changed, nothing is wrong.
    answer(shop, make_features(ROWS, seed=3, shift=0.7))

    assert judge(shop).summary.verdict.level is Level.OK


def test_a_model_that_fell_is_an_alert(shop):
    answer(shop, make_features(ROWS, seed=3), noise=6.0)

    report = judge(shop)

    assert report.alert
    assert report.summary.drifted == ()
    assert "the release had" in report.summary.verdict.reasons[0]


def test_judging_again_when_labels_matured_replaces_the_report(shop):
    answer(shop, make_features(ROWS, seed=3))

    early, late = judge(shop, now=END), judge(shop)

    assert early.summary.performance.status is PerformanceStatus.PENDING
    assert late.summary.performance.status is PerformanceStatus.MEASURED
    assert early.folder == late.folder
    write_site(shop.workspace)
    assert "not yet" not in (shop.workspace.reports / MODEL / "index.html").read_text()


def broken_windows():
    nulls = np.where(np.arange(ROWS) < 0.9 * ROWS, np.nan, 40.0)
    outlier = make_features(ROWS, seed=3)[VALUE].to_numpy().copy()
    outlier[5] = 1e6
    infinite = outlier.copy()
    infinite[5] = np.inf
    yield "all null", changed(AGE, pa.nulls(ROWS, pa.float64())), FaultKind.ALL_NULL
    yield "no category at all", changed(CITY, pa.nulls(ROWS, pa.string())), FaultKind.ALL_NULL
    yield "all infinite", changed(AGE, pa.array([np.inf] * ROWS)), FaultKind.INFINITE
    yield "90 % null", changed(VALUE, pa.array(nulls, from_pandas=True)), FaultKind.MORE_NULLS
    yield "an outlier", changed(VALUE, pa.array(outlier)), FaultKind.OUT_OF_RANGE
    yield "an infinity", changed(VALUE, pa.array(infinite)), FaultKind.INFINITE
    yield "constant", changed(VALUE, pa.array([40.0] * ROWS)), FaultKind.CONSTANT
    yield "missing", make_features(ROWS, seed=3).drop([VALUE]), FaultKind.MISSING_COLUMN


@pytest.mark.parametrize(
    ("features", "kind"),
    [pytest.param(features, kind, id=name) for name, features, kind in broken_windows()],
)
def test_broken_data_is_a_fault_and_still_a_report(shop, features, kind):
    answer(shop, features)

    report = judge(shop, jobs=WITH_CHARTS)

    assert [fault.kind for fault in report.summary.faults] == [kind]
    assert kind is not FaultKind.MORE_NULLS or VALUE in [f.column for f in report.summary.drifted]
    assert report.summary.performance.status is PerformanceStatus.MEASURED
    assert len(shown_by_evidently(report)) >= 6


@pytest.mark.parametrize("rows", [0, 1, 150])
def test_a_small_window_is_reported_without_drift(shop, rows):
    answer(shop, make_features(rows, seed=3), labelled=rows > 0)

    report = judge(shop, jobs=WITH_CHARTS)

    assert report.summary.rows == rows
    assert report.summary.drifted == ()
    assert (report.summary.verdict.level is Level.WATCH) == (rows == 0)
    assert not (report.folder / "report.html").exists()
    assert "has nothing to draw" in (report.folder / "page.html").read_text()


def test_a_damaged_summary_is_listed_and_stops_nothing(shop):
    damaged = shop.workspace.reports / MODEL / "20240301T000000Z_20240302T000000Z"
    damaged.mkdir(parents=True)
    (damaged / "summary.json").write_text("{")

    write_site(shop.workspace)

    index = (shop.workspace.reports / "index.html").read_text()
    assert f"{MODEL}/{damaged.name}/summary.json" in index


def test_stale_rows_are_a_fault_of_their_view(shop):
    features = make_features(ROWS, seed=3)
    answer(shop, features, served__orders__status=pa.array(["expired"] * ROWS))

    summary = judge(shop).summary

    assert [(fault.kind, fault.subject) for fault in summary.faults] == [(FaultKind.EXPIRED, "orders")]
    assert [view.view for view in summary.views] == [view.name for view in PLAN.views]
    assert summary.verdict.level is Level.ALERT


_WATCHED = """
import os, sys

def watch(event, details):
    if event == "import" and details[0] == "evidently" and os.environ.get("DO_NOT_TRACK") != "1":
        raise SystemExit("Evidently was imported before it was told not to track")
    if event in {"socket.connect", "socket.getaddrinfo", "socket.sendto"}:
        raise SystemExit(f"a connection was asked for: {details}")

sys.addaudithook(watch)
from knownat.cli import main
main(sys.argv[1:])
"""


def test_the_command_alarms_by_its_exit_code_and_never_phones_home(shop):
    answer(shop, make_features(ROWS, seed=3), noise=6.0)
    clock = shop.workspace.home / "clock"
    FileClock(clock).move_to(to_us(MATURED))
    command = [sys.executable, "-c", _WATCHED, "monitor", MODEL, "--repo", str(shop.workspace.repo)]
    window = ["--start", START.isoformat(), "--end", END.isoformat(), "--clock", f"file:{clock}"]
    environment = {name: value for name, value in os.environ.items() if name != "DO_NOT_TRACK"}

    done = subprocess.run(
        [*command, *window, "--job", "judge", "--job", "charts", "--job", "pages", "--json"],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        env={**environment, "HOME": str(shop.workspace.home)},
    )

    assert done.returncode == 1, done.stderr
    (model,) = json.loads(done.stdout)["models"]
    (document,) = model["windows"]
    assert model["verdict"]["action"] == "alert"
    assert document["verdict"]["level"] == "alert"
    assert document["page"].endswith("20240304T000000Z_20240305T000000Z/page.html")


def test_what_training_would_have_seen_says_how_much_of_a_fall_is_the_pipelines(shop):
    truth, random = make_features(ROWS, seed=3), np.random.default_rng(4)
    mixed_up = truth.set_column(0, VALUE, pa.array(random.permutation(truth[VALUE].to_numpy())))
    predictions = shop.log(mixed_up)
    shop.post_labels(predictions, make_labels(truth, seed=9), after=timedelta(hours=5))
    before = judge(shop, jobs=(Job.JUDGE,))
    column = ColumnSkew(column=VALUE, causes={Cause.WRONG_KEY: ROWS}, examples=())
    skew = SkewReport(asked=ROWS, rows=ROWS, values=6 * ROWS, columns=(column,))
    (before.folder / SKEW).write_text(skew.model_dump_json())
    kept = truth.append_column("prediction_id", predictions["prediction_id"])
    pq.write_table(kept, before.folder / TRAINING_VALUES)

    after = judge(shop, jobs=(Job.JUDGE,), again=True)

    assert before.summary.blame.culprit is Culprit.WORLD
    assert after.summary.blame.culprit is Culprit.PIPELINE
    assert after.summary.blame.groups[0].how == "replayed"
