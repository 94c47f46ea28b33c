"""A bundle gives back what was logged, to the bit, and is there whole or not at all."""

import math
import struct
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knownat.contract.feedback import (
    Bundle,
    MadeBy,
    as_logged,
    feedback_id_of,
    keep_bundle,
    list_bundles,
    make_bundle,
    read_bundle,
)
from knownat.errors import LogError

MOMENT = datetime(2024, 3, 1, 12, tzinfo=UTC)
BY_TYPE = {
    "float64": st.floats(),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
    "string": st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(["NaN", "Infinity", "1", "true"]),
}
VALUES = st.sampled_from(sorted(BY_TYPE)).flatmap(
    lambda dtype: st.tuples(st.just(dtype), st.none() | BY_TYPE[dtype])
)


def make(comment="odd", *, score=0.5, posted=MOMENT, **values):
    row = {
        "prediction_id": "basket.1", "request_id": "r", "model": "basket", "version": "1", "role": "champion",
        "event_timestamp": MOMENT, "logged_at": MOMENT, "degraded": False, "score": score, "latency_us": 7,
        "key__customer_id": 1, "served__orders__event_timestamp": MOMENT - timedelta(seconds=90),
        "served__orders__created_timestamp": MOMENT, "served__orders__status": "present", **values,
    }  # fmt: skip
    return make_bundle(row, comment=comment, posted_at=posted, made_by=MadeBy(knownat="0.1"))


def bits(value):
    return struct.pack("<d", value) if isinstance(value, float) and not math.isnan(value) else repr(value)


@given(stored=st.lists(VALUES, max_size=6), score=st.floats(0, 1))
def test_every_value_comes_back_as_it_was_logged(stored, score):
    columns = {f"orders__f{place}": value for place, (_, value) in enumerate(stored)}

    bundle = Bundle.model_validate_json(make(score=score, **columns).model_dump_json())

    assert bits(bundle.score) == bits(score)
    for (dtype, value), found in zip(stored, bundle.features.values(), strict=True):
        again = as_logged(found, dtype)
        assert type(again) is type(value)
        assert bits(again) == bits(value)


def test_what_a_row_is_made_of_is_told_apart_by_name():
    bundle = make(input__channel="web", orders__count=3, orders__status="a feature of that name")

    assert (bundle.keys, bundle.inputs) == ({"customer_id": 1}, {"channel": "web"})
    assert bundle.features == {"orders__count": 3, "orders__status": "a feature of that name"}
    assert bundle.views["orders"].age_seconds == 90.0


def test_an_id_follows_from_what_was_said_of_what():
    ids = {feedback_id_of(*said) for said in (("a", "b"), ("a", "c"), ("b", "b"), ("a\0b", ""))}

    assert len(ids) == 4
    assert feedback_id_of("a", "b") == feedback_id_of("a", "b")


def test_bundles_are_listed_by_when_they_were_posted(tmp_path):
    for hours, comment in ((2, "second"), (1, "first")):
        assert keep_bundle(tmp_path, make(comment, posted=MOMENT + timedelta(hours=hours)))

    assert [bundle.comment for bundle in list_bundles(tmp_path)] == ["first", "second"]
    assert not keep_bundle(tmp_path, make("first"))
    assert next(iter(list_bundles(tmp_path))).posted_at == MOMENT + timedelta(hours=1)


def test_half_a_bundle_is_named_and_what_a_kill_leaves_is_none(tmp_path):
    keep_bundle(tmp_path, make())
    (path,) = (tmp_path / "basket").iterdir()
    whole = path.read_bytes()
    (tmp_path / "basket" / f".{path.stem}.0a1b2c3d").write_bytes(whole[:100])
    assert [bundle.comment for bundle in list_bundles(tmp_path)] == ["odd"]

    path.write_bytes(whole[:100])
    with pytest.raises(LogError, match="cannot be read as a bundle"):
        read_bundle(tmp_path, path.stem)


def test_the_start_of_an_id_is_enough_if_it_is_one(tmp_path):
    for comment in map(str, range(40)):
        keep_bundle(tmp_path, make(comment))
    some = next(iter(list_bundles(tmp_path)))

    assert read_bundle(tmp_path, some.feedback_id[:12]) == some
    with pytest.raises(LogError, match="holds"):
        read_bundle(tmp_path, "")
