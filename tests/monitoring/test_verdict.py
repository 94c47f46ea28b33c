import pytest

from knownat.contract.release import Interval
from monitoring.performance import compare
from monitoring.summary import ColumnDrift, Fault, FaultKind, Level, Performance, PerformanceStatus, Span
from monitoring.verdict import judge

OLD = Interval(value=0.8, low=0.79, high=0.81, rows=10_000)


def performance(status=PerformanceStatus.MEASURED, *, labelled=900):
    return Performance(status=status, label_wait_hours=48, matured=1_000, pending=0, labelled=labelled)


def score(*, drifted=False):
    return ColumnDrift(
        column="score",
        kind="numeric",
        importance=0,
        psi=0.4 if drifted else 0.01,
        threshold=0.2,
        drifted=drifted,
        nulls_baseline=0,
        nulls_window=0,
    )


def auc(value, spread=0.01):
    window = Interval(value=value, low=value - spread, high=value + spread, rows=900)
    return compare("auc", window, OLD, allowed=0.05)


def fault(level):
    return Fault(kind=FaultKind.ALL_NULL, level=level, subject="a", message=f"a: {level}")


def verdict(*, faults=(), headline=None, **given):
    return judge(
        faults=faults,
        score=given.get("score", score()),
        performance=given.get("performance", performance()),
        headline=auc(0.8) if headline is None else headline,
    )


def test_all_well_says_so():
    assert verdict().level is Level.OK
    assert verdict().reasons == ("AUC 0.8 is within what the release promised",)


@pytest.mark.parametrize(("value", "how"), [(0.77, "near enough to"), (0.79, "within"), (0.83, "within")])
def test_a_little_worse_than_usual_is_not_said_to_be_within(value, how):
    window = Interval(value=value, low=value - 0.01, high=value + 0.01, rows=900)
    headline = compare("auc", window, OLD, allowed=0.05, usual=Span(low=0.78, high=0.82))

    found = verdict(headline=headline)

    told = (
        f"AUC {value} is {how} what the release promised: windows as long were from 0.78 to 0.82 in its test"
    )
    assert (found.level, found.reasons) == (Level.OK, (told,))


@pytest.mark.parametrize(("value", "how"), [(0.51, "near enough to"), (0.5, "within"), (0.4, "within")])
def test_of_an_error_more_is_worse(value, how):
    release = Interval(value=0.5, low=0.49, high=0.51, rows=10_000)
    window = Interval(value=value, low=value - 0.01, high=value + 0.01, rows=900)
    headline = compare("log_loss", window, release, allowed=0.05, usual=Span(low=0.45, high=0.505))

    assert verdict(headline=headline).reasons[0].startswith(f"Log loss {value} is {how} what the release")


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (PerformanceStatus.PENDING, "no fault found; the labels have not matured yet"),
        (PerformanceStatus.TOO_FEW, "no fault found; performance could not be measured"),
    ],
)
def test_what_was_not_measured_is_not_called_well(status, told):
    found = judge(faults=(), score=score(), performance=performance(status), headline=None)

    assert (found.level, found.reasons) == (Level.OK, (told,))


@pytest.mark.parametrize("level", [Level.WATCH, Level.ALERT])
def test_the_worst_fault_sets_the_level(level):
    found = verdict(faults=[fault(Level.WATCH), fault(level)])

    assert found.level is level
    assert found.reasons[0] == f"a: {level}"


def test_a_sure_fall_is_an_alert_and_an_unsure_one_is_watched():
    assert verdict(headline=auc(0.7)).level is Level.ALERT
    assert verdict(headline=auc(0.7, spread=0.1)).level is Level.WATCH


def test_a_drifted_score_asks_for_a_look_only_without_labels():
    pending = performance(PerformanceStatus.PENDING, labelled=0)

    assert verdict(score=score(drifted=True)).level is Level.OK
    assert verdict(score=score(drifted=True), performance=pending).level is Level.WATCH


def test_nothing_matured_is_no_lack_of_labels():
    pending = performance(PerformanceStatus.PENDING, labelled=0).model_copy(update={"matured": 0})

    assert verdict(performance=pending).level is Level.OK


def test_few_labels_are_watched():
    found = verdict(performance=performance(labelled=400))

    assert found.level is Level.WATCH
    assert found.reasons == ("only 40% of the matured predictions have a label",)


def test_many_faults_are_counted_not_all_told():
    found = verdict(faults=[fault(Level.ALERT)] * 12)

    assert len(found.reasons) == 4
    assert found.reasons[-1] == "9 more faults of this kind are listed below"
