from datetime import timedelta

import pytest

from knownat.contract.release import Interval
from knownat.contract.verdict import FaultSeen
from monitoring.causes import Cause
from monitoring.judgement import profile_window, summarize
from monitoring.performance import compare
from monitoring.skew_report import ColumnSkew, SkewReport
from monitoring.source import read_evidence
from monitoring.summary import Blame, BlamePart, Culprit, Fault, FaultKind, Level, Span, Summary
from monitoring.votes import comparable, vote_of
from monitoring.windows import Window
from tests.monitoring.judged import judge
from tests.monitoring.shop_log import END, MODEL, START, make_features, make_labels


@pytest.fixture(scope="module")
def summary(trained) -> Summary:
    """An empty window."""
    evidence = read_evidence(trained.workspace, MODEL, Window(START, END))
    return summarize(evidence, profile_window(evidence), Window(START, END), now=END)


def skew(cause, count):
    column = ColumnSkew(column="orders__is_member", causes={cause: count}, examples=())
    return SkewReport(asked=900, rows=300, values=1_800, columns=(column,))


def test_an_empty_window_is_no_broken_data(summary):
    vote = vote_of(summary)

    assert (vote.level, vote.faults, vote.measured, vote.fell) == ("watch", (), False, False)


@pytest.mark.parametrize(("count", "alarming"), [(2, False), (3, True)])
def test_values_that_are_not_trainings_are_broken_data_from_one_in_a_hundred_on(summary, count, alarming):
    vote = vote_of(summary, skew(Cause.MISMATCH, count))

    assert vote.faults == (FaultSeen(kind="skew", subject="orders__is_member", alarming=alarming),)
    assert vote.level == ("alert" if alarming else "watch")
    assert vote.reasons[-1] == (
        f"orders__is_member: {count} of 300 served values are not training's, mostly true mismatch"
    )


def test_rows_that_were_not_written_yet_are_no_fault(summary):
    assert vote_of(summary, skew(Cause.LAG, 200)) == vote_of(summary)


def test_a_faults_level_says_whether_it_alarms(summary):
    faults = [
        Fault(kind=FaultKind.CONSTANT, level=Level.WATCH, subject="a", message="a: m"),
        Fault(kind=FaultKind.ALL_NULL, level=Level.ALERT, subject="b", message="b: m"),
    ]

    vote = vote_of(summary.model_copy(update={"faults": tuple(faults)}))

    assert [(fault.kind, fault.subject, fault.alarming) for fault in vote.faults] == [
        ("constant", "a", False),
        ("all_null", "b", True),
    ]


def fallen(trained, *, spread):
    """A window in which every outcome was another than usual, as sure of it as ``spread`` is narrow."""
    features = make_features(1_500, seed=1)
    summary = judge(trained, features, 1 - make_labels(features, seed=2))
    value = summary.headline.release.value - 0.2
    window = Interval(value=value, low=value - spread, high=value + spread, rows=1_500)
    metric = compare("auc", window, summary.headline.release, allowed=0.05)
    performance = summary.performance.model_copy(update={"metrics": (metric,)})
    return summary.model_copy(update={"performance": performance})


@pytest.mark.parametrize(("spread", "surely"), [(0.01, True), (0.3, False)])
def test_a_vote_counts_a_fall_that_is_sure(trained, spread, surely):
    summary = fallen(trained, spread=spread)

    assert summary.headline.fell
    assert vote_of(summary).fell is surely


def test_a_fall_that_is_blamed_on_the_pipeline_is_broken_data(trained):
    summary = fallen(trained, spread=0.01)
    span = Span(low=0.1, high=0.3)
    parts = tuple(
        BlamePart(group=group, loss=0.2, range=span, how=how, evidence=())
        for group, how in (("orders", "restored"), ("profile", "moved"))
    )
    blamed = Blame(culprit=Culprit.PIPELINE, text="", metric="auc", groups=parts)
    of_world = blamed.model_copy(update={"culprit": Culprit.WORLD})

    broken, sound = (vote_of(summary.model_copy(update={"blame": blame})) for blame in (blamed, of_world))

    assert broken.faults == (FaultSeen(kind="blamed", subject="orders", alarming=True),)
    assert sound.faults == ()


def windows(summary, *hours):
    ends = [(END + timedelta(days=number), length) for number, length in enumerate(hours)]
    return [summary.model_copy(update={"start": e - timedelta(hours=h), "end": e}) for e, h in ends]


@pytest.mark.parametrize(
    ("hours", "kept"),
    [((24, 24, 2), (24, 24)), ((6, 6, 2), (2,)), ((2, 168, 168), (168, 168)), ((), ())],
)
def test_windows_of_one_length_are_judged_together_the_declared_one_first(summary, hours, kept):
    found = comparable(windows(summary, *hours)[::-1], window_hours=24)

    assert tuple((s.end - s.start) / timedelta(hours=1) for s in found) == kept
    assert found == sorted(found, key=lambda s: s.end)
