"""Rows of a table as the search needs them: entities, times and positions, without their values."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from knownat.stores.full_ties import Flags, Groups
from knownat.stores.inquiry import Entities, Int64s, Numbers, Ordered
from knownat.stores.parquet_pieces import RowGroup
from knownat.stores.picking import Positions, read_columns
from knownat.stores.tables import (
    CREATED_US,
    EVENT_US,
    POSITION,
    FeatureTable,
    Window,
    read_times,
    read_times_of,
    time_groups,
)
from knownat.stores.ties import are_winners
from knownat.stores.timeline import Leading, Times, leading_rows


@dataclass(frozen=True)
class TimeRows:
    """Rows of a table: whose they are, when they happened and became known, and where they are."""

    table: FeatureTable
    times: Times
    positions: npt.NDArray[np.uint32]

    @classmethod
    def read(cls, table: FeatureTable, window: Window, entities: Entities) -> "TimeRows":
        """Read a window; rows of entities that nobody asks about come along as nobody's."""
        if (groups := time_groups(table, window)) is not None:
            return cls._in_pieces(table, groups, window, entities)
        frame = read_times(table, window)
        codes = entities.codes_of(frame.select(table.keys), frame.height)
        return cls.of(frame, table, codes, created_cutoff=window.created_cutoff)

    @classmethod
    def _in_pieces(
        cls, table: FeatureTable, groups: Sequence[RowGroup], window: Window, entities: Entities
    ) -> "TimeRows":
        most = sum(group.rows for group in groups)
        codes, positions = np.empty(most, np.int32), np.empty(most, np.uint32)
        event_us, created_us = np.empty(most, np.int64), np.empty(most, np.int64)
        end = 0
        for piece in read_times_of(table, groups, window):
            part = slice(end, end := end + piece.height)
            codes[part] = entities.codes_of(piece.select(table.keys), piece.height)
            event_us[part], created_us[part] = piece[EVENT_US].to_numpy(), piece[CREATED_US].to_numpy()
            positions[part] = piece[POSITION].to_numpy()
        times = Times(codes[:end], event_us[:end], created_us[:end], window.created_cutoff)
        return cls(table, times, positions[:end])

    @classmethod
    def of(
        cls, frame: pl.DataFrame, table: FeatureTable, codes: Numbers, *, created_cutoff: bool
    ) -> "TimeRows":
        """Take times and positions from a frame."""
        times = Times(codes, frame[EVENT_US].to_numpy(), frame[CREATED_US].to_numpy(), created_cutoff)
        return cls(table, times, frame[POSITION].to_numpy())

    def at(self, numbers: Numbers | npt.NDArray[np.intp]) -> "TimeRows":
        """Choose rows."""
        return TimeRows(self.table, self.times.at(numbers), self.positions[numbers])

    def of_somebody(self, entities: int) -> "TimeRows":
        """Leave out the rows of nobody."""
        return self.at(np.flatnonzero(self.times.codes < entities))

    def behind(self, others: "TimeRows") -> "TimeRows":
        """Put other rows of the same table before these."""
        positions = np.concatenate([others.positions, self.positions])
        return TimeRows(self.table, others.times.and_then(self.times), positions)

    def newest_numbers(self, entities: int) -> Numbers:
        """Find the newest row of each entity that has one, as if all were asked for after the last row."""
        present = np.zeros(entities + 1, dtype=np.bool_)
        present[self.times.codes] = True
        everyone = np.flatnonzero(present[:entities]).astype(np.int32)
        if not len(everyone):
            return everyone
        last = max(int(self.times.event_us.max()), int(self.times.created_us.max()))
        places = np.arange(len(everyone), dtype=np.int32)
        return self.leading(Ordered(places, everyone, np.full(len(everyone), last)), entities).rows

    def newest(self, entities: int) -> "TimeRows":
        """Keep the newest row of each entity."""
        return self.at(self.newest_numbers(entities))

    def leading(
        self, asked: Ordered, entities: int, *, oldest_us: Int64s | None = None, find_expired: bool = False
    ) -> Leading:
        """Find which of these rows leads at each question."""
        return leading_rows(
            asked,
            self.times,
            entities=entities,
            settle=self._settle,
            oldest_us=oldest_us,
            find_expired=find_expired,
        )

    def positions_of(self, numbers: Numbers) -> Positions:
        """Return where rows are in the table, -1 for -1."""
        if not len(self.positions):
            return numbers
        narrow = int(self.positions.max()) <= np.iinfo(np.int32).max
        positions: Positions = self.positions.view(np.int32) if narrow else self.positions.astype(np.int64)
        taken = positions.take(numbers, mode="clip")
        taken[numbers < 0] = -1
        return taken

    def times_of(self, numbers: Numbers) -> tuple[Int64s, Int64s]:
        """Return the event and created times of rows, 0 for -1."""
        none = numbers < 0
        if not len(self.positions):
            return np.zeros(len(none), np.int64), np.zeros(len(none), np.int64)
        event_us = self.times.event_us.take(numbers, mode="clip")
        created_us = self.times.created_us.take(numbers, mode="clip")
        event_us[none] = created_us[none] = 0
        return event_us, created_us

    def _settle(self, tied: Numbers, groups: Groups) -> Flags:
        columns = read_columns(self.table, self.table.features, self.positions[tied].astype(np.int64))
        return are_winners(groups, pl.DataFrame(list(columns)), self.table)
