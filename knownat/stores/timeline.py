"""The newest visible row for each question, by sorting: entity and time packed into one integer.

Rows lie in order of (entity, visible, event, created, payload). Walking them, the best row so far is
the one of the latest event, so the running maximum of (entity, event) tells for every row which one
leads when it becomes visible. A question finds its place by binary search, and reads who leads there.
A running maximum that stands for another entity, or for an event that has outlived the ttl, is below
what the question asks for; so one comparison settles both.

Times count from the first one in the table, so that entity and time fit into 63 bits. Entities are
taken in ranges: few enough to fit, and few enough that their rows stay in the processor's cache.

Rows of one entity with the same two times lead together. One stands for all until the last range is
done; then those that answer a question are told apart, at once, since their values must be read.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from knownat.stores.full_ties import Flags, Settle, Tied, Ties
from knownat.stores.inquiry import Int64s, Numbers, Ordered

_BITS = 63
_ROWS = 1 << 16
"""About how many rows a range has."""
_STRIDE, _FEW = 64, 16
"""Rows are nearly in order if of every 64th, fewer than one in 16 is before the one before it."""


@dataclass(frozen=True)
class Times:
    """A table's rows: the entity of each and its times in microseconds."""

    codes: Numbers
    event_us: Int64s
    created_us: Int64s
    cutoff: bool
    """Whether a row is visible from its created time, and not already from its event."""

    def at(self, rows: Numbers | npt.NDArray[np.intp]) -> "Times":
        """Choose rows."""
        return Times(self.codes[rows], self.event_us[rows], self.created_us[rows], self.cutoff)

    def and_then(self, others: "Times") -> "Times":
        """Put other rows behind these."""
        codes = np.concatenate([self.codes, others.codes])
        event_us = np.concatenate([self.event_us, others.event_us])
        return Times(codes, event_us, np.concatenate([self.created_us, others.created_us]), self.cutoff)


@dataclass(frozen=True)
class Leading:
    """The row that each question found, by number, -1 for none, and whether it had outlived the ttl.

    Both are in the questions' own order. Rows that have outlived it are given only if asked for.
    """

    rows: Numbers
    expired: Flags | None


def leading_rows(
    asked: Ordered,
    rows: Times,
    *,
    entities: int,
    settle: Settle,
    oldest_us: Int64s | None = None,
    find_expired: bool = False,
) -> Leading:
    """Find the row that leads at each question.

    Parameters
    ----------
    entities
        How many numbers entities have; rows with a greater one are nobody's.
    settle
        Decides between rows of one entity that no time tells apart.
    oldest_us
        The oldest event that each of the ordered questions accepts.
    """
    found = np.full(len(asked.places), -1, dtype=np.int32)
    outlived = np.zeros(len(found), dtype=np.bool_) if find_expired and oldest_us is not None else None
    if not len(found) or not len(rows.codes):
        return Leading(found, outlived)
    clock, ties = _Clock.of(asked, rows), Ties()
    for some, at, first in _ranges(asked, rows, entities, clock.entity_bits):
        part = rows if at is None else rows.at(at)
        line = _Timeline(part, clock, first=first, entities=entities)
        ties.add(line.tied, at)
        places = asked.places[some]
        base = clock.base(asked.codes[some], first)
        best, leaders = line.lead(base | clock.ticks(asked.known_us[some]))
        fresh = best > base
        if oldest_us is not None:
            young = best >= base + clock.ticks(oldest_us[some])
            if outlived is None:
                fresh &= young
            else:
                outlived[places] = fresh & ~young
        leaders = leaders if at is None else at[leaders]
        found[places] = np.where(fresh, leaders, np.int32(-1))
    ties.settle(found, len(rows.codes), settle)
    return Leading(found, outlived)


@dataclass(frozen=True)
class _Clock:
    """Ticks of one table and its questions: 0 is before every row, ``last`` after every question."""

    first_us: int
    last: int

    @classmethod
    def of(cls, asked: Ordered, rows: Times) -> "_Clock":
        first_us = int(rows.event_us.min())
        return cls(first_us, max(0, int(asked.known_us.max()) - first_us + 1) + 1)

    @property
    def bits(self) -> int:
        return self.last.bit_length()

    @property
    def entity_bits(self) -> int:
        return _BITS - self.bits

    def base(self, codes: Numbers, first: int) -> Int64s:
        base = codes - np.int64(first)
        base <<= self.bits
        return base

    def ticks(self, times_us: Int64s) -> Int64s:
        ticks = times_us - np.int64(self.first_us - 1)
        return np.clip(ticks, 0, self.last, out=ticks)


class _Timeline:
    """Rows in order of visibility, and who leads from each on, with the entity and event of that one."""

    def __init__(self, rows: Times, clock: _Clock, *, first: int, entities: int) -> None:
        visible_us = np.maximum(rows.event_us, rows.created_us) if rows.cutoff else rows.event_us
        packed = clock.base(rows.codes, first)
        packed |= clock.ticks(visible_us)
        self.leader, self.visible = _sorted(packed)
        nobody = min((entities - first) << clock.bits, (1 << _BITS) - 1)
        self.tied = self._put_ties_in_order(rows, nobody)
        if not rows.cutoff:
            self.best = self.visible
            return
        event = clock.ticks(rows.event_us)[self.leader]
        event |= self.visible & np.int64(-1 << clock.bits)
        self.best = np.maximum.accumulate(event)
        self._replace(np.flatnonzero(event < self.best))

    def _replace(self, behind: npt.NDArray[np.intp]) -> None:
        """Let the last row that was not behind lead where the row that became visible is behind."""
        if not len(behind):
            return
        starts = np.append(True, behind[1:] != behind[:-1] + 1)
        self.leader[behind] = self.leader[behind[starts] - 1][np.cumsum(starts) - 1]

    def lead(self, questions: Int64s) -> tuple[Int64s, Numbers]:
        """Tell who leads at each of the ordered questions, and what :attr:`best` is there; -1 for nobody."""
        ends = np.searchsorted(self.visible, questions, side="right") - 1
        # Before the first row there is none; -1 as an index would be the last.
        nobody = int(np.searchsorted(questions, self.visible[0]))
        best, leader = self.best[ends], self.leader[ends]
        best[:nobody] = leader[:nobody] = -1
        return best, leader

    def _put_ties_in_order(self, rows: Times, nobody: int) -> Tied:
        """Sort rows that became visible at once, the newest last; return those that no time tells apart."""
        same = self.visible[1:] == self.visible[:-1]
        if not same.any():
            return Tied.none()
        same &= self.visible[1:] < nobody
        tied = np.zeros(len(self.leader), dtype=np.bool_)
        tied[1:] |= same
        tied[:-1] |= same
        at = np.flatnonzero(tied)
        group = self.visible[at]
        members = self.leader[at]
        members = members[np.lexsort((rows.created_us[members], rows.event_us[members], group))]
        event, created = rows.event_us[members], rows.created_us[members]
        equal = (group[1:] == group[:-1]) & (event[1:] == event[:-1]) & (created[1:] == created[:-1])
        self.leader[at] = members
        return Tied.of(members, equal)


def _sorted(packed: Int64s) -> tuple[Numbers, Int64s]:
    if (packed[1:] >= packed[:-1]).all():
        return np.arange(len(packed), dtype=np.int32), packed
    # A table is mostly written in the order of events. Then rows of one entity are nearly in the order in
    # which they became visible, and merging the runs of that takes a tenth of a general sort.
    some = packed[::_STRIDE]
    in_runs = np.count_nonzero(some[1:] < some[:-1]) * _FEW < len(some)
    order = np.argsort(packed, kind="stable" if in_runs else None)
    return order.astype(np.int32), packed[order]


def _by_entity(codes: Numbers, entities: int) -> Numbers:
    """Order rows by entity, those of one as they come; digit by digit, without a comparison."""
    order = np.argsort(codes.astype(np.uint8 if entities < 1 << 8 else np.uint16), kind="stable")
    if entities >= 1 << 16:
        order = order[np.argsort((codes >> 16).astype(np.uint16)[order], kind="stable")]
    return order.astype(np.int32)


def _ranges(
    asked: Ordered, rows: Times, entities: int, entity_bits: int
) -> Iterator[tuple[slice, Numbers | None, int]]:
    """Yield the questions and rows of one range of entities after another, and its first entity."""
    fit = max(1, (1 << entity_bits) - 2)
    ranges = max(-(-entities // fit), min(len(rows.codes) // _ROWS, 256))
    if ranges <= 1:
        yield slice(None), None, 0
        return
    width = -(-entities // ranges)
    order = _by_entity(rows.codes, entities)
    starts = np.arange(0, entities + width, width)
    of_rows = np.searchsorted(rows.codes, starts, sorter=order)
    of_questions = np.searchsorted(asked.codes, np.minimum(starts, entities))
    for i, first in enumerate(starts[:-1].tolist()):
        some = slice(of_questions[i], of_questions[i + 1])
        at = order[of_rows[i] : of_rows[i + 1]]
        if some.start < some.stop and len(at):
            yield some, at, first
