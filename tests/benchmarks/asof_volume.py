"""A history of any size whose every answer follows from a formula, and the check of a join with it.

Key ``k`` has an event every period; one in sixteen becomes known up to two periods late, one in
thirty-two is corrected later under the same event time, and one in sixty-four is written twice. What is
late, corrected or doubled follows from a hash of the key and the event's number, so the newest
visible row of a question is found by looking at the last few events before it: no join is needed.
Each row carries its own event's number, key and version, so every value says which row it came from.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

Int64s = npt.NDArray[np.int64]

START_US = 1_380_000_000_000_000
PERIOD_US = 3_600_000_000
TTL_US = 3 * PERIOD_US
LOOK_BACK = 4
"""Every event is known within two periods, so the newest one that is known is among the last three."""

VALUES = ("number", "tracer", "version")
MOMENT = pa.timestamp("us", tz="UTC")
_STRANGERS = 101
"""One question in so many is about a key that no row has."""


@dataclass(frozen=True)
class Volume:
    """How many keys, events a key, and questions."""

    keys: int
    events: int
    questions: int

    def write_rows(self, path: Path, *, keys_at_once: int = 250_000) -> int:
        """Write the history in order of its events; return how many rows it has."""
        written = 0
        with pq.ParquetWriter(path, _schema()) as writer:
            for number in range(self.events):
                for first in range(0, self.keys, keys_at_once):
                    keys = np.arange(first, min(first + keys_at_once, self.keys))
                    rows = _rows(keys, np.full(len(keys), number))
                    writer.write_table(rows)
                    written += rows.num_rows
        return written

    def ask(self) -> pa.Table:
        """Make the questions, in no order."""
        dice = np.random.default_rng(5)
        keys = dice.integers(0, self.keys + self.keys // _STRANGERS + 1, self.questions)
        span = (self.events + 6) * PERIOD_US
        times = START_US - 2 * PERIOD_US + dice.integers(0, span, self.questions)
        return pa.table({"entity": keys, "event_timestamp": pa.array(times).cast(MOMENT)})

    def wrong(self, answers: Iterator[pa.RecordBatch]) -> tuple[int, int, int]:
        """Check every row of a result: how many were right, wrong, and had a value."""
        asked, at, right, present = self.ask(), 0, 0, 0
        for batch in answers:
            rows = asked.slice(at, batch.num_rows)
            at += batch.num_rows
            keys, times = (rows[name].cast(pa.int64()).to_numpy() for name in asked.column_names)
            number, version, found = self.answer(keys, times)
            same = _equal(batch["entity"], keys) & _equal(batch["event_timestamp"], times)
            for name, expected in (
                ("number", number),
                ("tracer", tracer(keys, number)),
                ("version", version),
            ):
                same &= np.where(found, _equal(batch[name], expected), ~_is_valid(batch[name]))
            right += int(same.sum())
            present += int(found.sum())
        return right, self.questions - right, present

    def answer(self, keys: Int64s, times: Int64s) -> tuple[Int64s, Int64s, npt.NDArray[np.bool_]]:
        """Say which event, in which version, is the newest visible one of each question, if any."""
        last = (times - START_US - phase_us(keys)) // PERIOD_US
        number, version = np.zeros(len(keys), np.int64), np.zeros(len(keys), np.int64)
        found = np.zeros(len(keys), np.bool_)
        for back in range(LOOK_BACK):
            one = last - back
            real = (one >= 0) & (one < self.events) & (keys < self.keys) & ~found
            event_us = START_US + phase_us(keys) + one * PERIOD_US
            seen = real & (event_us + lag_us(keys, one) <= times)
            corrected = seen & is_corrected(keys, one) & (event_us + correction_us(keys, one) <= times)
            number = np.where(seen, one, number)
            version = np.where(seen, corrected, version)
            found |= seen
        found &= START_US + phase_us(keys) + number * PERIOD_US >= times - TTL_US
        return number, version, found


def mix(keys: Int64s, number: Int64s) -> npt.NDArray[np.uint64]:
    """Hash a key and an event's number."""
    hashed = keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + number.astype(np.uint64)
    hashed = (hashed ^ (hashed >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    return hashed ^ (hashed >> np.uint64(29))


def phase_us(keys: Int64s) -> Int64s:
    """When in a period a key's events happen."""
    return (mix(keys, np.zeros_like(keys)) % np.uint64(PERIOD_US)).astype(np.int64)


def lag_us(keys: Int64s, number: Int64s) -> Int64s:
    """How long after its event a row becomes known."""
    hashed = mix(keys, number)
    soon, late = hashed % np.uint64(60_000_000), hashed % np.uint64(2 * PERIOD_US)
    return np.where(hashed >> np.uint64(60) == 0, late, soon).astype(np.int64)


def is_corrected(keys: Int64s, number: Int64s) -> npt.NDArray[np.bool_]:
    """Whether a second version of an event becomes known later."""
    return (mix(keys, number) >> np.uint64(40)) % np.uint64(32) == 0


def correction_us(keys: Int64s, number: Int64s) -> Int64s:
    """How long after its event the second version becomes known; later than the first."""
    return lag_us(keys, number) + 1 + (mix(keys, number) % np.uint64(PERIOD_US // 2)).astype(np.int64)


def is_doubled(keys: Int64s, number: Int64s) -> npt.NDArray[np.bool_]:
    """Whether a row was written twice."""
    return (mix(keys, number) >> np.uint64(48)) % np.uint64(64) == 0


def tracer(keys: Int64s, number: Int64s) -> Int64s:
    """A number that only this key's event has."""
    return keys * 1_000_003 + number


def _schema() -> pa.Schema:
    return pa.schema(
        {
            "entity": pa.int64(),
            "event_timestamp": MOMENT,
            "created_timestamp": MOMENT,
            "number": pa.int64(),
            "tracer": pa.int64(),
            "version": pa.int64(),
        }
    )


def _rows(keys: Int64s, number: Int64s) -> pa.Table:
    corrected, doubled = np.flatnonzero(is_corrected(keys, number)), np.flatnonzero(is_doubled(keys, number))
    version = np.zeros(len(keys) + len(corrected) + len(doubled), np.int64)
    version[len(keys) : len(keys) + len(corrected)] = 1
    which = np.concatenate([np.arange(len(keys)), corrected, doubled])
    keys, number = keys[which], number[which]
    event_us = START_US + phase_us(keys) + number * PERIOD_US
    created_us = event_us + np.where(version == 1, correction_us(keys, number), lag_us(keys, number))
    order = np.argsort(event_us, kind="stable")
    columns = [keys, event_us, created_us, number, tracer(keys, number), version]
    return pa.table(
        [pa.array(column[order]).cast(kind) for column, kind in zip(columns, _schema().types, strict=True)],
        schema=_schema(),
    )


def _equal(column: pa.Array, expected: Int64s) -> npt.NDArray[np.bool_]:
    values = column.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    return np.asarray(values == expected)


def _is_valid(column: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(column.is_valid())
