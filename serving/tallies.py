"""What one version answered, counted by the thread that answers, with nothing to lock or look up."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from knownat.contract.read_plan import ReadPlan, ReadResult, Status

LATENCY_US = (100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000)
"""Upper bounds of the latency histogram's buckets, in microseconds."""


class Tally:
    """Counts of one version's answers. One thread adds to them; another may read them at any time."""

    def __init__(self, plan: ReadPlan) -> None:
        self.views = tuple(view.name for view in plan.views)
        self.rows = 0
        self.degraded = 0
        self.requests = 0
        self.elapsed_us = 0
        self.buckets = [0] * (len(LATENCY_US) + 1)
        self._odd: list[dict[Status, int]] = [{} for _ in self.views]
        self._ages: list[int | None] = [None] * len(self.views)
        self._newest: tuple[int, Sequence[int | None]] | None = None

    def observe(self, elapsed_us: int) -> None:
        """Count one answered request and how long it took."""
        self.requests += 1
        self.elapsed_us += elapsed_us
        self.buckets[bisect_left(LATENCY_US, elapsed_us)] += 1

    def add(
        self, now_us: int, event_us: Sequence[int | None], status: Sequence[Status], *, degraded: bool
    ) -> None:
        """Count one answered row: what became of its views, and how old they were."""
        self.rows += 1
        if not degraded:
            # Kept as it came; most rows are never looked at.
            self._newest = (now_us, event_us)
            return
        self.degraded += 1
        self._settle()
        for view, (event, found) in enumerate(zip(event_us, status, strict=True)):
            if event is not None:
                self._ages[view] = now_us - event
            if found is not Status.PRESENT:
                counts = self._odd[view]
                counts[found] = counts.get(found, 0) + 1

    def add_many(self, now_us: int, read: ReadResult, degraded: Sequence[bool]) -> None:
        """Count the rows of one answer."""
        self.rows += len(degraded)
        self.degraded += sum(degraded)
        self._settle()
        for place, view in enumerate(self.views):
            odd = self._odd[place]
            for found, rows in Counter(read.status[view]).items():
                if found is not Status.PRESENT:
                    odd[found] = odd.get(found, 0) + rows
            if events := [event for event in read.event_us[view] if event is not None]:
                self._ages[place] = now_us - min(events)

    def statuses(self) -> dict[str, dict[Status, int]]:
        """Return how many rows of each view had which status."""
        counts = {}
        for view, odd in zip(self.views, self._odd, strict=True):
            counts[view] = {Status.PRESENT: self.rows - sum(odd.values()), **odd}
        return counts

    def ages_seconds(self) -> dict[str, float]:
        """Return how old each view's oldest row was in the last answer that had one."""
        self._settle()
        return {v: age / 1e6 for v, age in zip(self.views, self._ages, strict=True) if age is not None}

    def _settle(self) -> None:
        newest, self._newest = self._newest, None
        if newest is not None:
            now_us, event_us = newest
            self._ages = [now_us - event if event is not None else None for event in event_us]
