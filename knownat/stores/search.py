"""Which row of a table answers each question: at once, or a slice of visible time after another.

A table that is too large to be in memory is taken in slices of visible time. From slice to slice go
the newest rows so far, one an entity: nothing older can win later. So a file in order of time is
read once, and no key is too frequent.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from knownat.errors import RepoError, RowsNotConserved
from knownat.stores.inquiry import Entities, Inquiry, Int64s, Numbers, Ordered, order_of
from knownat.stores.picking import MOST_ROWS, Positions
from knownat.stores.slices import Slice, time_slices
from knownat.stores.tables import FeatureTable, Window, count_rows
from knownat.stores.time_rows import TimeRows

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """The row found for each question, in the questions' order: its position, or -1, and its times.

    ``expired`` tells which rows had outlived the ttl; they and the times are given if asked for.
    """

    positions: Positions
    expired: npt.NDArray[np.bool_] | None = None
    event_us: Int64s | None = None
    created_us: Int64s | None = None


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is asked of a table."""

    inquiry: Inquiry
    keys: Mapping[str, str]
    event_timestamp: str
    known_at: str
    ttl_us: int = 0
    created_cutoff: bool = True
    find_expired: bool = False
    with_times: bool = False
    most_rows: int = MOST_ROWS

    def find(self, table: FeatureTable) -> Found:
        """Find the newest visible row for each question.

        Raises
        ------
        RepoError
            If a column is missing, a key is of another type than the table's, or a time cannot be
            used exactly.
        RowsNotConserved
            If there would be other answers than questions.
        """
        self._check_columns(table)
        entities = self.inquiry.entities(table, self.keys)
        table = table.numbered()
        height = count_rows(table)
        if height > self.most_rows:
            found = self._slice_by_slice(table, height, entities)
        else:
            rows = TimeRows.read(table, self._window, entities)
            asked = self.inquiry.ordered(table, self.keys, self.known_at)
            found = self._answer(rows, asked, asked.places, entities)
        if len(found.positions) != self.inquiry.examples.height:
            raise RowsNotConserved(
                f"{table.name}: {self.inquiry.examples.height} examples in, {len(found.positions)} rows out."
            )
        return found

    def _answer(self, rows: TimeRows, asked: Ordered, examples: Numbers, entities: Entities) -> Found:
        """Answer ordered questions; ``examples`` are those that ask them, in the same order."""
        oldest_us = None
        if self.ttl_us:
            now = self.known_at == self.event_timestamp
            times = asked.known_us if now else self.inquiry.times(self.event_timestamp)[examples]
            oldest_us = times - self.ttl_us
        leading = rows.leading(asked, entities.size, oldest_us=oldest_us, find_expired=self.find_expired)
        kept = leading.rows
        if leading.expired is not None:
            kept = np.where(leading.expired, np.int32(-1), kept)
        positions = rows.positions_of(kept)
        if not self.with_times:
            return Found(positions, leading.expired)
        return Found(positions, leading.expired, *rows.times_of(leading.rows))

    def _slice_by_slice(self, table: FeatureTable, height: int, entities: Entities) -> Found:
        known_us = self.inquiry.times(self.known_at)
        by_time = np.argsort(known_us, kind="stable").astype(np.int32)
        in_time = known_us[by_time]
        answers, start, carried = _Answers(self, height), 0, None
        slices = time_slices(table, self._window, most_rows=self.most_rows)
        _log.info("%s: %d rows are read in %d slices of visible time.", table.name, height, len(slices))
        for one in slices:
            # Who asked before the slice begins must not miss what it may replace.
            edges = [int(at) for at in np.searchsorted(in_time, [one.since_us, one.until_us], side="right")]
            last = one is slices[-1]
            before, within = by_time[start : edges[0]], by_time[edges[0] : None if last else edges[1]]
            if carried is not None:
                answers.put(before, self._answer_some(carried, before, entities))
            rows = self._so_far(table, height, one, entities, carried)
            answers.put(within, self._answer_some(rows, within, entities))
            carried = None if last else self._still_useful(rows.newest(entities.size), one.until_us)
            start = edges[1]
        return answers.found

    def _answer_some(self, rows: TimeRows, examples: Numbers, entities: Entities) -> Found:
        codes, known_us = entities.codes[examples], self.inquiry.times(self.known_at)[examples]
        order = order_of(codes, known_us)
        asked = Ordered(order, codes[order], known_us[order])
        return self._answer(rows, asked, examples[order], entities)

    def _so_far(
        self, table: FeatureTable, height: int, one: Slice, entities: Entities, carried: TimeRows | None
    ) -> TimeRows:
        """Read the rows of a slice, behind those that were the newest before it."""
        window = replace(self._window, since_us=one.since_us, until_us=one.until_us)
        rows: TimeRows | None = None
        # What became visible at one instant may be too much by itself; then a part of it is reduced
        # to its newest rows before the next is read.
        step = height if one.rows <= self.most_rows else self.most_rows
        for at in range(0, height, step):
            if rows is not None:
                carried = rows.newest(entities.size)
            part = table if step == height else table.narrowed(table.rows.slice(at, step))
            rows = TimeRows.read(part, window, entities).of_somebody(entities.size)
            rows = rows if carried is None else rows.behind(carried)
        if rows is None:
            raise RepoError(f"{table.name}: its table became empty while it was read. Ask again.")
        return rows

    def _still_useful(self, rows: TimeRows, now_us: int) -> TimeRows:
        """Leave out what has outlived the ttl for whoever asks later."""
        if not self._prunes or self.known_at != self.event_timestamp:
            return rows
        return rows.at(np.flatnonzero(rows.times.event_us >= now_us + 1 - self.ttl_us))

    @property
    def _prunes(self) -> bool:
        return bool(self.ttl_us) and not self.find_expired and self.inquiry.examples.height > 0

    @property
    def _window(self) -> Window:
        known_us = self.inquiry.times(self.known_at)
        asked_us = self.inquiry.times(self.event_timestamp)
        return Window(
            until_us=int(known_us.max()) if len(known_us) else None,
            event_from_us=int(asked_us.min()) - self.ttl_us if self._prunes else None,
            created_cutoff=self.created_cutoff,
        )

    def _check_columns(self, table: FeatureTable) -> None:
        needed = [self.event_timestamp, self.known_at, *(self.keys[name] for name in table.keys)]
        have = self.inquiry.examples.columns
        if missing := [name for name in needed if name not in have]:
            raise RepoError(f"{table.name}: the examples have no column {missing}; they have {have}.")


class _Answers:
    """Answers of several slices, put where their examples are."""

    def __init__(self, search: Search, height: int) -> None:
        size = search.inquiry.examples.height
        nothing = np.full(size, -1, dtype=np.int64)
        positions: Positions = nothing if height > np.iinfo(np.int32).max else nothing.astype(np.int32)
        times = (np.zeros(size, np.int64), np.zeros(size, np.int64)) if search.with_times else (None, None)
        expired = np.zeros(size, np.bool_) if search.find_expired and search.ttl_us else None
        self.found = Found(positions, expired, *times)

    def put(self, examples: Numbers, some: Found) -> None:
        """Add the answers of these examples."""
        self.found.positions[examples] = some.positions
        for mine, theirs in (
            (self.found.expired, some.expired),
            (self.found.event_us, some.event_us),
            (self.found.created_us, some.created_us),
        ):
            if mine is not None and theirs is not None:
                mine[examples] = theirs
