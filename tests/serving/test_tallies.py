"""What is counted does not depend on how the rows came."""

from hypothesis import given
from hypothesis import strategies as st

from knownat.contract.read_plan import ReadResult, Status
from serving.tallies import LATENCY_US, Tally
from tests.serving.fakes import NOW_US, PLAN

VIEWS = ("customer_orders", "product")
cells = st.tuples(st.sampled_from(Status), st.integers(0, 10**9)).map(
    lambda cell: (cell[0], NOW_US - cell[1] if cell[0] in {Status.PRESENT, Status.EXPIRED} else None)
)


@given(rows=st.lists(st.tuples(cells, cells), max_size=12))
def test_rows_count_the_same_alone_and_together(rows):
    alone, together = Tally(PLAN), Tally(PLAN)
    degraded = [any(found is not Status.PRESENT for found, _ in row) for row in rows]

    for row, worse in zip(rows, degraded, strict=True):
        alone.add(NOW_US, [e for _, e in row], [s for s, _ in row], degraded=worse)
    read = ReadResult(
        {},
        {view: [row[i][1] for row in rows] for i, view in enumerate(VIEWS)},
        {},
        {view: [row[i][0] for row in rows] for i, view in enumerate(VIEWS)},
    )
    together.add_many(NOW_US, read, degraded)

    by_hand = {
        view: {s: n for s in Status if (n := [row[i][0] for row in rows].count(s))}
        for i, view in enumerate(VIEWS)
    }
    for tally in (alone, together):
        assert (tally.rows, tally.degraded) == (len(rows), sum(degraded))
        counted = {v: {s: n for s, n in counts.items() if n} for v, counts in tally.statuses().items()}
        assert counted == by_hand


def test_the_age_is_that_of_the_last_answer_that_had_a_row():
    tally = Tally(PLAN)
    present = [Status.PRESENT, Status.PRESENT]

    tally.add(NOW_US, [NOW_US - 5_000_000, NOW_US - 7_000_000], present, degraded=False)
    assert tally.ages_seconds() == {"customer_orders": 5.0, "product": 7.0}

    tally.add(NOW_US, [None, NOW_US - 9_000_000], [Status.NOT_FOUND, Status.PRESENT], degraded=True)
    assert tally.ages_seconds() == {"customer_orders": 5.0, "product": 9.0}


def test_latencies_fall_into_the_bucket_that_they_do_not_exceed():
    tally = Tally(PLAN)
    for elapsed_us in (0, 100, 101, 1_000_000, 1_000_001):
        tally.observe(elapsed_us)

    assert (tally.buckets[0], tally.buckets[1], tally.buckets[len(LATENCY_US) - 1]) == (2, 1, 1)
    assert (tally.buckets[-1], tally.requests, tally.elapsed_us) == (1, 5, 2_000_202)
