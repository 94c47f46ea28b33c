"""Rows that only their values tell apart are told apart once, and only where a question meets them."""

import numpy as np

from knownat.stores.full_ties import Flags, Groups
from knownat.stores.inquiry import Numbers, Ordered
from knownat.stores.timeline import Times, leading_rows

FAR = 2**60  # Times so far apart leave room for few entities in a range.


def test_values_are_read_once_for_all_ranges_and_only_of_rows_that_answer() -> None:
    entities, calls = 12, list[list[int]]()

    def settle(rows: Numbers, groups: Groups) -> Flags:
        calls.append(rows.tolist())
        assert np.bincount(groups)[np.unique(groups)].tolist() == [2] * (len(rows) // 2)
        return rows % 2 == 0  # Of the rows 2k and 2k + 1 the first, which stands for nobody.

    codes = np.repeat(np.arange(entities, dtype=np.int32), 2)
    times = np.zeros(len(codes), np.int64)
    asked = np.array([1, 4, 4, 11], dtype=np.int32)
    known = np.array([FAR, -1, FAR, FAR])
    found = leading_rows(
        Ordered(np.arange(4, dtype=np.int32), asked, known),
        Times(codes, times, times, cutoff=True),
        entities=entities,
        settle=settle,
    )
    assert found.rows.tolist() == [2, -1, 8, 22]
    assert calls == [[2, 3, 8, 9, 22, 23]]


def test_nothing_is_read_where_no_tie_answers() -> None:
    def settle(rows: Numbers, groups: Groups) -> Flags:
        raise AssertionError(f"{rows}, {groups} need not be told apart")

    codes = np.zeros(3, np.int32)
    event = np.array([5, 5, 7])
    found = leading_rows(
        Ordered(np.arange(1, dtype=np.int32), codes[:1], np.array([9])),
        Times(codes, event, event, cutoff=True),
        entities=1,
        settle=settle,
    )
    assert found.rows.tolist() == [2]
