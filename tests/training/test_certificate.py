import re
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from knownat.contract.read_plan import PlanFeature, PlanKey, PlanView, ReadPlan
from knownat.contract.release import GateResult
from knownat.errors import RowsNotConserved
from tests.training.made import CUTOFF, MOMENT, make_frame, make_spec
from training.canaries import CANARIES
from training.certificate import certify
from training.frame import Joined
from training.future import FutureEvidence
from training.gates import judge_certificate
from training.moved import Moved
from training.rewriting import Rewritten
from training.split import keep_answered, split_by_time
from training.suspicion import Suspicion

PLAN = ReadPlan(
    project="parcels",
    feature_service="late_parcel",
    views=(
        PlanView(
            name="depot",
            keys=(PlanKey(view_key="parcel_id", request_key="parcel_id", dtype="int64"),),
            ttl_us=0,
            features=(PlanFeature(name="load", dtype="float64"),),
        ),
    ),
    output_columns=("depot__load",),
)
SPEC = make_spec()
EXAMPLES = make_frame()


def joined(**changes):
    """A frame whose every value was known an hour before its question, but for what is changed."""
    frame = keep_answered(EXAMPLES, SPEC.time)
    before = pc.subtract(frame["event_timestamp"], pa.scalar(timedelta(hours=1), pa.duration("us")))
    rows = {
        "depot__load": frame["depot__load"],
        "depot__event_timestamp": before.cast(MOMENT),
        "depot__created_timestamp": before.cast(MOMENT),
        "depot__status": pa.array(["present"] * len(frame)),
    }
    return Joined(frame=frame, rows=pa.table({**rows, **changes}), plan=PLAN, sources={})


def certify_(made):
    return certify(SPEC, made, split_by_time(made.frame, SPEC), all_examples=EXAMPLES)


def changed(column, value):
    """The same column, its hundredth value replaced."""
    values = joined().rows[column].to_pylist()
    values[100] = value
    return {column: pa.array(values, joined().rows[column].type)}


def test_a_clean_frame_is_certified_with_its_counts():
    certificate = certify_(joined())
    view, sides = certificate.views[0], {side.side: side for side in certificate.sides}
    assert (view.present, view.event_after_question, view.created_after_question) == (view.rows, 0, 0)
    assert certificate.examples == 3_000
    assert certificate.examples_joined == certificate.rows_returned < 3_000
    assert sides["fit"].labels_known_after_cutoff == 0
    assert sides["test"].first_question >= CUTOFF.isoformat()
    assert certificate.as_json()["problems"] == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (changed("depot__event_timestamp", CUTOFF + timedelta(days=90)), "1 rows happened after"),
        (changed("depot__created_timestamp", CUTOFF + timedelta(days=90)), "1 rows were not known"),
        (changed("depot__created_timestamp", None), "1 rows were not known"),
        (changed("depot__load", 77.0), "1 values are not those of the newest visible row"),
    ],
)
def test_one_row_from_the_future_stops_the_release(changes, told):
    with pytest.raises(RowsNotConserved, match=told):
        certify_(joined(**changes))


def test_a_lost_row_stops_the_release():
    made = joined()
    short = Joined(frame=made.frame.slice(1), rows=made.rows, plan=PLAN, sources={})
    with pytest.raises(RowsNotConserved, match="rows came out"):
        certify(SPEC, short, split_by_time(short.frame, SPEC), all_examples=EXAMPLES)


def test_a_label_of_the_future_stops_the_release():
    made = joined()
    known = made.frame["label_timestamp"].to_pylist()
    fold = split_by_time(made.frame, SPEC)
    known[fold.fit[3]] = CUTOFF + timedelta(microseconds=1)
    at = made.frame.column_names.index("label_timestamp")
    frame = made.frame.set_column(at, "label_timestamp", pa.array(known, MOMENT))
    with pytest.raises(RowsNotConserved, match="side 'fit': 1 labels were not known"):
        certify(SPEC, Joined(frame, made.rows, PLAN, {}), fold, all_examples=EXAMPLES)


def test_an_expired_row_is_no_evidence_against_the_frame():
    found = certify_(joined(**changed("depot__status", "expired"))).views[0]
    assert (found.expired, found.present, found.not_found) == (1, found.rows - 1, 0)


def test_a_label_that_was_known_before_its_question_stops_the_release():
    made = joined()
    known = made.frame["label_timestamp"].to_pylist()
    fold = split_by_time(made.frame, SPEC)
    row = int(fold.test[3])
    known[row] = made.frame["event_timestamp"][row].as_py() - timedelta(microseconds=1)
    at = made.frame.column_names.index("label_timestamp")
    frame = made.frame.set_column(at, "label_timestamp", pa.array(known, MOMENT))
    with pytest.raises(RowsNotConserved, match="side 'test': 1 labels were known before their question"):
        certify(SPEC, Joined(frame, made.rows, PLAN, {}), fold, all_examples=EXAMPLES)


def future(**changes):
    """A rewritten future in which nothing moved but what was planted."""
    return FutureEvidence(
        **{
            "instant": CUTOFF.isoformat(),
            "events": (Rewritten("parcels", unknown=90, removed=30, changed=60),),
            "tables": 1,
            "rows_visible": 900,
            "questions": 400,
            "columns": 1,
            "questions_changed": 0,
            "labels_changed": 0,
            "moved": (),
            "canaries": {canary.name: 9 for canary in CANARIES},
            **changes,
        }
    )


def test_a_future_in_which_only_what_was_planted_moved_speaks_against_nothing():
    found = replace(certify_(joined()), future=(future(),))
    assert found.problems() == []
    assert judge_certificate(found) == GateResult(gate="signs of a leak", value=0, bound=0, passed=True)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"moved": (Moved("depot__load", 3, "it was 1, and became 2"),)}, "knew the future"),
        ({"labels_changed": 2}, "2 answers said to be known by .* changed with what became known later"),
        ({"questions": 0}, "nobody asked, so nothing is proven"),
        ({"events": (Rewritten("parcels", 0, 0, 0),)}, "nothing to rewrite or nobody asked"),
        ({"canaries": dict.fromkeys((canary.name for canary in CANARIES[1:]), 9) | {CANARIES[0].name: 0}},
         "a planted leak was missed, so this certificate proves nothing: the answer itself"),
    ],
)  # fmt: skip
def test_what_a_rewritten_future_shows_is_told_and_passes_no_gate(changes, told):
    found = replace(certify_(joined()), future=(future(**changes),))
    assert len(found.problems()) == 1
    assert re.search(told, found.problems()[0])
    assert judge_certificate(found) == GateResult(gate="signs of a leak", value=1, bound=0, passed=False)


def test_of_many_columns_that_moved_five_are_told_and_the_rest_is_counted():
    moved = tuple(Moved(f"depot__{number}", 3, "it was 1, and became 2") for number in range(7))
    *named, rest = replace(certify_(joined()), future=(future(moved=moved),)).problems()
    assert [words.split()[0] for words in named] == [f"depot__{number}" for number in range(5)]
    assert rest.startswith("so did 2 more tables and columns")


def test_a_planted_leak_has_to_be_caught_at_one_instant_of_all():
    asleep = future(canaries={canary.name: 0 for canary in CANARIES})
    assert replace(certify_(joined()), future=(asleep, future())).problems() == []


def test_a_suspicion_passes_the_gate_only_once_somebody_has_explained_it():
    suspicion = Suspicion("too good alone", "depot__load", 0.99, 0.95, "Column 'depot__load' alone tells")
    certificate = replace(certify_(joined()), future=(future(),))
    assert not judge_certificate(certificate.suspecting([suspicion])).passed
    assert judge_certificate(certificate.suspecting([replace(suspicion, accepted="a plan")])).passed
