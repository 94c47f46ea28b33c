"""Whole runs: what is due, what is new, what breaks, and what comes out on disk."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from knownat.clock import FixedClock, to_us
from knownat.contract.verdict import Action, read_verdict
from knownat.contract.workspace import Workspace
from monitoring.jobs import Job
from monitoring.runs import Work, monitor_models
from monitoring.windows import Window, windows_between
from tests.monitoring.hook_server import hook_server
from tests.monitoring.shop_log import END, MODEL, START, Shop, make_features, make_labels

QUICK = (Job.JUDGE, Job.PAGES)
DAY = timedelta(days=1)
MATURED = END + timedelta(days=2)


@pytest.fixture(scope="module")
def filled_shop(trained, tmp_path_factory) -> Shop:
    """Four windows of six hours; in the last one the model fell."""
    home = tmp_path_factory.mktemp("filled") / "home"
    shutil.copytree(trained.workspace.home, home)
    shop = replace(trained, workspace=Workspace.at(home / "feature_repo"))
    good, bad = make_features(1_200, seed=3), make_features(1_200, seed=3)
    labels = make_labels(good, seed=9)
    labels[900:] = make_labels(bad, seed=9, noise=9.0)[900:]
    shop.post_labels(shop.log(good), labels, after=timedelta(hours=5))
    return shop


@pytest.fixture
def filled(filled_shop, tmp_path) -> Workspace:
    shutil.copytree(filled_shop.workspace.home, tmp_path / "home")
    return Workspace.at(tmp_path / "home" / "feature_repo")


def quarters() -> list[Window]:
    return windows_between(START, END, timedelta(hours=6))


def run(workspace, *, now=MATURED, windows=None, jobs=QUICK, again=False, models=(MODEL,)):
    work = Work(jobs, quarters() if windows is None else windows, again=again)
    clock = FixedClock(to_us(now))
    return monitor_models(workspace, models, work, clock=clock, progress=lambda *_: None)


def declare(workspace, text=""):
    (workspace.models / f"{MODEL}.sql").write_text("select 1")
    workspace.model_file(MODEL).write_text(
        f'name = "{MODEL}"\ndescription = "d"\nowner = "new@example.org"\nrunbook = "r.md"\ntask = "binary"\n'
        f'feature_service = "{MODEL}"\nmetric = "auc"\n[examples]\nsql = "{MODEL}.sql"\n'
        'keys = {customer_id = "int64"}\n[time]\ncutoff = 2024-03-01T00:00:00Z\nvalidation_days = 1\n'
        f"gap_hours = 1\ntest_days = 1\n{text}"
    )


def test_a_run_writes_a_verdict_a_site_and_numbers_for_prometheus(filled):
    (done,) = run(filled)

    assert [len(done.reports), done.problems] == [4, []]
    verdict = read_verdict(filled, MODEL)
    assert verdict == done.verdict
    assert (verdict.action, verdict.since, verdict.as_of) == (Action.ALERT, END, END)
    assert "performance surely fell in 1 of the 4 newest windows" in verdict.reasons[0]
    assert {path.name for path in filled.reports.iterdir()} >= {"index.html", "knownat.prom", MODEL}
    told = {
        (sample.name, sample.labels.get("action", "")): sample.value
        for family in text_string_to_metric_families((filled.reports / "knownat.prom").read_text())
        for sample in family.samples
    }
    assert told["knownat_verdict", "alert"] == 1
    assert told["knownat_verdict", "ok"] == 0
    assert told["knownat_window_predictions", ""] == 300
    assert told["knownat_window_end_seconds", ""] == END.timestamp()
    assert told["knownat_webhook_waiting", ""] == 0


def test_what_was_judged_from_the_same_rows_is_not_judged_again(filled):
    (first,), (second,), (forced,) = run(filled), run(filled), run(filled, again=True)

    assert [report.done for report in first.reports] == [(Job.JUDGE,)] * 4
    assert [report.done for report in second.reports] == [()] * 4
    assert [report.done for report in forced.reports] == [(Job.JUDGE,)] * 4
    assert [r.summary for r in second.reports] == [r.summary for r in first.reports]
    assert second.verdict == first.verdict


def test_rows_that_were_taken_out_of_the_log_leave_the_judgement_that_was_made_of_them(filled):
    (first,) = run(filled)
    shutil.rmtree(filled.predictions / MODEL / "v1")

    (pruned,) = run(filled)

    assert [report.done for report in pruned.reports] == [()] * 4
    assert [r.summary for r in pruned.reports] == [r.summary for r in first.reports]
    assert pruned.verdict == first.verdict


def test_labels_that_matured_are_news(filled):
    (early,), (late,) = run(filled, now=END), run(filled)

    assert early.verdict.action is Action.OK
    assert [report.done for report in late.reports] == [(Job.JUDGE,)] * 4
    assert late.verdict.action is Action.ALERT


def test_rules_are_those_of_today_and_name_todays_owner(filled):
    declare(filled, "[monitoring.verdict]\nwindows = 4\nfall_windows = 2\n")

    (done,) = run(filled)

    assert done.verdict.action is Action.WATCH
    assert (done.verdict.owner, done.verdict.runbook) == ("new@example.org", "r.md")


def test_rules_that_cannot_be_are_a_problem_of_their_model_and_windows_are_judged_all_the_same(filled):
    declare(filled, "[monitoring.verdict]\nwindows = 2\nfall_windows = 5\nretrain_faults = ['stale']\n")

    (done,) = run(filled)

    assert len(done.reports) == 4
    assert "fall_windows: 5 of 2 windows can never be reached" in done.problems[0]
    assert "retrain_faults" in done.problems[0]
    assert done.verdict is None


class Bottomless:
    """Stands for whatever may go wrong with one window that nobody thought of."""

    folder = "bottomless"

    @property
    def start(self):
        raise KeyError("no such thing")


def test_a_window_that_breaks_stops_no_other(filled):
    (done,) = run(filled, windows=[Bottomless(), *quarters()])

    assert done.problems == ["bottomless: KeyError: 'no such thing'"]
    assert len(done.reports) == 4
    assert done.verdict.action is Action.ALERT


def test_a_model_that_cannot_be_judged_stops_no_other(filled):
    unknown, known = run(filled, models=("nobody", MODEL))

    assert len(unknown.problems) == 4
    assert "No version of 'nobody' is deployed" in unknown.problems[0]
    assert (len(known.reports), known.problems) == (4, [])


def test_a_damaged_part_of_the_log_is_named_for_each_window_and_the_site_is_written(filled):
    run(filled)
    (filled.predictions / MODEL / "v1" / "segment-b.parquet").write_bytes(b"PAR1 no more")

    (done,) = run(filled)

    assert len(done.problems) == 4
    assert "segment-b.parquet cannot be read" in done.problems[0]
    # What was decided before stands, from what was judged before.
    assert done.verdict.action is Action.ALERT


def test_runs_at_once_come_to_the_same_end(filled):
    with ThreadPoolExecutor(4) as pool:
        found = [job.result()[0] for job in [pool.submit(run, filled) for _ in range(4)]]

    assert [done.problems for done in found] == [[]] * 4
    # Each window was judged by one of them; the others waited, and saw that it was done.
    done = [report.done for each in found for report in each.reports]
    assert sorted(done) == [()] * 12 + [(Job.JUDGE,)] * 4
    assert read_verdict(filled, MODEL).action is Action.ALERT
    left = [path.name for path in filled.reports.rglob(".*") if path.name != ".lock"]
    assert left == []


def test_a_webhook_is_told_once_and_again_when_it_is_over(filled):
    with hook_server(200) as server:
        declare(filled, f'[monitoring.webhook]\nurl = "{server.url}"\nshape = "slack"\n')
        run(filled)
        run(filled)
        declare(filled, f'[monitoring.webhook]\nurl = "{server.url}"\nshape = "slack"\n'
                        "[monitoring.verdict]\nfall_windows = 2\n")  # fmt: skip
        (over,) = run(filled)

    assert over.delivery.arrived
    assert [message["text"].split(",")[0] for message in server.received] == [
        f"{MODEL}: alert",
        f"{MODEL}: watch",
    ]


def test_a_webhook_that_fails_loses_no_verdict_and_is_told_by_the_next_run(filled):
    with hook_server(404, 200) as server:
        declare(filled, f'[monitoring.webhook]\nurl = "{server.url}"\nshape = "alertmanager"\n')

        (failed,) = run(filled)
        waiting = (filled.reports / "knownat.prom").read_text()
        page = (filled.reports / MODEL / "index.html").read_text()
        (told,) = run(filled)

    assert (failed.delivery.arrived, failed.problems) == (False, [])
    assert read_verdict(filled, MODEL).action is Action.ALERT
    assert f'knownat_webhook_waiting{{model="{MODEL}"}} 1.0' in waiting
    assert "it answered 404" in page
    assert told.delivery.arrived
    assert len(server.received) == 2
    assert "knownat_webhook_waiting" in (filled.reports / "knownat.prom").read_text()


def test_a_run_from_cron_makes_up_for_missed_ones_and_for_labels_that_matured(filled):
    declare(filled, "[monitoring]\nwindow_hours = 6\nlabel_wait_hours = 48\n")

    def due(now):
        work = Work(QUICK)
        (done,) = monitor_models(
            filled, [MODEL], work, clock=FixedClock(to_us(now)), progress=lambda *_: None
        )
        return [(r.summary.end - END) / timedelta(hours=6) for r in done.reports]

    assert due(END) == [-8, 0]
    assert due(END) == [0]
    assert due(END + timedelta(hours=19)) == [1, 2, 3]
    assert due(END + timedelta(hours=48)) == [0, 4, 5, 6, 7, 8]
