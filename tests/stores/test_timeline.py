"""Who leads at each question, by loops, however many entities there are and in whatever order rows come."""

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knownat.stores import timeline
from knownat.stores.inquiry import Ordered
from knownat.stores.timeline import Times, leading_rows


@pytest.fixture(autouse=True, scope="module")
def _ranges_of_few_rows() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timeline, "_ROWS", 40)
        yield


def leader(rows: list[tuple[int, int, int]], code: int, now: int, *, cutoff: bool) -> int:
    """Find the row with the newest event of those that one could know of; no two here have equal times."""
    visible = [
        (event, created, place)
        for place, (owner, event, created) in enumerate(rows)
        if owner == code and event <= now and (created <= now or not cutoff)
    ]
    return max(visible)[2] if visible else -1


@settings(max_examples=60)
@given(
    st.integers(0, 2**32),
    st.sampled_from([1, 3, 255, 256, 65_535, 65_536, 70_000]),
    st.sampled_from(["by event", "by entity", "at random"]),
    st.booleans(),
)
def test_the_newest_visible_row_leads(seed: int, entities: int, order: str, cutoff: bool) -> None:
    dice = random.Random(seed)
    # Few entities have many rows each; the last number is that of rows that are nobody's.
    codes = [0, entities - 1, entities, *(dice.randrange(entities) for _ in range(4))]
    events = dice.sample(range(10_000), 300)
    rows = [(dice.choice(codes), event, event + dice.choice([-5, 0, 3, 4_000])) for event in events]
    rows.sort(key={"by event": lambda row: row[1], "by entity": None, "at random": lambda _: 0}[order])
    asked = sorted((dice.choice(codes[:2] + codes[3:]), dice.randrange(-10, 12_000)) for _ in range(50))
    owners, event, created = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    found = leading_rows(
        Ordered(
            np.arange(len(asked), dtype=np.int32),
            np.array([code for code, _ in asked], np.int32),
            np.array([now for _, now in asked], np.int64),
        ),
        Times(owners.astype(np.int32), event, created, cutoff=cutoff),
        entities=entities,
        settle=lambda tied, groups: np.ones(len(tied), np.bool_),
    )
    assert found.rows.tolist() == [leader(rows, code, now, cutoff=cutoff) for code, now in asked]
