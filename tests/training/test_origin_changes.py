"""What a release was made from, held against what there is now: each change in words."""

import numpy as np
import pyarrow as pa
import pytest

from training.origin_changes import changed_definitions, changed_rows, later_rows
from training.origins import EventRows, Origins, StoredSketch
from training.row_hashes import hash_rows
from training.sketch import sketch


def rows(*cents):
    return pa.table(
        {"customer_id": pa.array(range(len(cents)), pa.int64()), "cents": pa.array(cents, pa.int64())}
    )


def kept(known, later=()):
    """Write rows down as a release does."""
    sketches = (StoredSketch.of(sketch(hash_rows(rows(*cents)))) for cents in (known, later))
    return EventRows(**dict(zip(("known", "later"), sketches, strict=True)))


def origins(**changes):
    made = Origins(code="c", pyarrow="1", duckdb="1", definitions={}, examples="", events={}, tables={})
    return made.model_copy(update=changes)


def changed(then, now, tables):
    return list(changed_rows("event", then, now, lambda: tables))


def test_definitions_are_new_gone_or_edited():
    then = origins(definitions={"same.py": "a", "edited.sql": "a", "gone.py": "a"})
    now = origins(definitions={"same.py": "a", "edited.sql": "b", "new.py": "a"})
    assert list(changed_definitions(then, now)) == [
        "definition 'edited.sql' was edited",
        "definition 'gone.py' is gone",
        "definition 'new.py' is new",
    ]


def test_rows_that_are_the_same_are_not_read():
    same = {"orders": kept([5, 6], later=[7])}
    later = {"orders": kept([5, 6], later=[7, 8])}
    assert list(changed_rows("event", same, later, lambda: pytest.fail("read"))) == []


def test_a_table_that_came_or_went_is_named():
    found = changed({"gone": kept([1]), "orders": kept([2])}, {"new": kept([1]), "orders": kept([2])}, {})
    assert found == ["event 'gone' is gone", "event 'new' is new"]


def test_a_changed_row_is_counted_and_shown():
    assert changed({"orders": kept([5, 6, 7])}, {"orders": kept([5, 60])}, {"orders": rows(5, 60)}) == [
        "event 'orders': of the rows known by the cutoff, 2 are gone or changed and 1 are others",
        "event 'orders', a row that was not there: customer_id=1, cents=60",
    ]


def test_of_many_changed_rows_five_are_shown():
    found = changed({"orders": kept([])}, {"orders": kept(range(9))}, {"orders": rows(*range(9))})
    assert found[0].endswith("0 are gone or changed and 9 are others")
    assert [line.split(": ")[1] for line in found[1:]] == [f"customer_id={n}, cents={n}" for n in range(5)]


MANY = range(100_000)


def test_more_changes_than_can_be_named_are_said_to_be_so():
    found = changed({"orders": kept([])}, {"orders": kept(MANY)}, {"orders": rows(*MANY)})
    assert found == ["event 'orders': more rows known by the cutoff changed than can be named"]


def test_what_became_known_later_is_counted_beside():
    then = origins(events={"orders": kept([1], later=[2]), "same": kept([1]), "gone": kept([1], later=[3])})
    now = origins(
        events={"orders": kept([1], later=[2, 3, 4]), "same": kept([1]), "new": kept([1], later=[3])}
    )
    assert list(later_rows(then, now)) == [
        "event 'orders': 2 rows that became known after the cutoff are new; training does not see them"
    ]
    many = origins(tables={"spend": kept([1], later=MANY)})
    (told,) = later_rows(origins(tables={"spend": kept([1])}), many)
    assert told.startswith("table 'spend': about 100,000 rows that became known after the cutoff are new;")


def test_an_older_release_says_nothing_of_tables():
    older = origins(tables=None, events={"orders": kept([1])})
    newer = origins(tables={"spend": kept([1], later=[2])}, events={"orders": kept([1])})
    assert list(later_rows(older, newer)) == list(later_rows(newer, older)) == []


def test_a_sketch_comes_back_as_it_was_written():
    made = sketch(np.array([1, 2, 2**63], dtype=np.uint64))
    again = StoredSketch.of(made).read()
    assert again.rows == 3
    for name in ("counts", "hashes", "checks"):
        assert np.array_equal(getattr(made, name), getattr(again, name))
