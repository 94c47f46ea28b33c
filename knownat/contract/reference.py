"""What a release was trained on, as counts: the profile of all its rows, and of each step of time.

A window of production is held against the whole, and against past windows of its own length: rows of
one day share its weather, its weekday and its season, so a day differs from a year far more than as
many independent rows would.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from knownat.clock import to_us
from knownat.contract.buckets import Buckets
from knownat.contract.columns import Numbers, as_numbers
from knownat.contract.held import HeldNumbers
from knownat.contract.profile import Layout, Profile
from knownat.contract.profile_file import read_profile, write_profile
from knownat.contract.read_plan import ReadPlan, Status
from knownat.contract.release import HISTORY, PROFILE, Release
from knownat.contract.schema import Column, FeatureSchema
from knownat.errors import SchemaMismatch

Steps = npt.NDArray[np.int64]
"""Rows by step and bucket."""
Marks = npt.NDArray[np.bool_]

SCORE = Column(name="score", dtype="float64")
# A Monday, so that a step of 168 hours is a week from Monday to Monday.
ANCHOR = datetime(1970, 1, 5, tzinfo=UTC)
PAST_TTL = "past_ttl"
_ROWS, _RANGE = "rows:", "range:"
_FIRST, _LENGTH, _LABELS = b"knownat.first_us", b"knownat.step_us", b"knownat.labels"


def age_column(view: str) -> str:
    """Name the column of how old a view's row was, in seconds, when it was asked for."""
    return f"age__{view}"


def status_column(view: str) -> str:
    """Name the column of what became of a view's row."""
    return f"served__{view}__status"


def profiled_columns(schema: FeatureSchema, plan: ReadPlan) -> tuple[Column, ...]:
    """Name what is profiled: the model's columns, its score, and each view's status and age."""
    views = [
        column
        for view in plan.views
        for column in (
            Column(name=status_column(view.name), dtype="category", categories=()),
            Column(name=age_column(view.name), dtype="float64"),
        )
    ]
    return (*schema.columns, SCORE, *views)


def as_observed(table: pa.Table, plan: ReadPlan) -> pa.Table:
    """Add how old each view's row was at its question, in seconds; name rows that outlived their ttl.

    A row that was served as present though it was past its time to live gets the status
    :data:`PAST_TTL`, which no reference holds. Views whose times were not logged are left as they are.
    """
    for view in plan.views:
        served, status = f"served__{view.name}__event_timestamp", status_column(view.name)
        if served not in table.column_names:
            continue
        age = pc.subtract(*(_microseconds(table[name]) for name in ("event_timestamp", served)))
        table = table.append_column(age_column(view.name), pc.divide(pc.cast(age, pa.float64()), 1e6))
        if view.ttl_us and status in table.column_names:
            present = pc.equal(table[status], Status.PRESENT.value)
            past = pc.fill_null(pc.and_(present, pc.greater(age, view.ttl_us)), False)
            named = pc.if_else(past, PAST_TTL, table[status])
            table = table.set_column(table.column_names.index(status), status, named)
    return table


@dataclass(frozen=True)
class History:
    """Each column's rows by step and bucket; step ``i`` begins at ``first + i * step``."""

    first_us: int
    step_us: int
    counts: Mapping[str, Steps]
    ranges: Mapping[str, Numbers]
    """The smallest and largest finite value of each step of a number column; NaN without one."""

    @classmethod
    def of(cls, profile: Profile, tables: Mapping[str, pa.Table], *, step: timedelta) -> "History":
        """Count each column of ``profile`` by step, from the table that holds it and its times."""
        step_us = step // timedelta(microseconds=1)
        places = {
            name: (_microseconds(table["event_timestamp"]).to_numpy() - to_us(ANCHOR)) // step_us
            for name, table in tables.items()
        }
        filled = [steps for steps in places.values() if len(steps)]
        first = min((int(steps.min()) for steps in filled), default=0)
        steps = max((int(steps.max()) for steps in filled), default=first - 1) - first + 1
        counts, ranges = {}, {}
        for name, table in tables.items():
            column = profile.columns[name]
            counts[name] = _by_step(Buckets.of(column), table[name], places[name] - first, steps)
            if isinstance(column.held, HeldNumbers):
                ranges[name] = _ranges(as_numbers(name, table[name]), places[name] - first, steps)
        return cls(to_us(ANCHOR) + first * step_us, step_us, counts, ranges)

    def windows(self, column: str, length: timedelta) -> Steps:
        """Sum a column's steps to windows of a length, one beginning at each step; whole ones only.

        A length that is no whole number of steps is rounded to one.
        """
        counts, width = self.counts.get(column), self._width(length)
        if counts is None or len(counts) < width:
            return np.zeros((0, 0), dtype=np.int64)
        until = np.vstack([np.zeros((1, counts.shape[1]), dtype=np.int64), np.cumsum(counts, axis=0)])
        return until[width:] - until[:-width]

    def stand_still(self, column: str, length: timedelta) -> Marks:
        """Tell in which of these windows a number column held values, and only one."""
        ranges, width = self.ranges.get(column), self._width(length)
        if ranges is None or len(ranges) < width:
            return np.zeros(0, dtype=np.bool_)
        steps = np.lib.stride_tricks.sliding_window_view(ranges, width, axis=0)
        known = ~np.isnan(steps[:, 0])
        low = np.where(known, steps[:, 0], np.inf).min(axis=1)
        high = np.where(known, steps[:, 1], -np.inf).max(axis=1)
        return np.asarray(low == high)

    def _width(self, length: timedelta) -> int:
        return max(round(length / timedelta(microseconds=self.step_us)), 1)


def _by_step(buckets: Buckets, values: pa.ChunkedArray, places: Steps, steps: int) -> Steps:
    flat = places * len(buckets) + buckets.locate(values)
    rows = np.bincount(flat, minlength=steps * len(buckets))
    return rows.reshape(-1, len(buckets)).astype(np.int64)


def _ranges(numbers: Numbers, places: Steps, steps: int) -> Numbers:
    finite = np.isfinite(numbers)
    found = np.full((steps, 2), np.nan)
    np.fmin.at(found[:, 0], places[finite], numbers[finite])
    np.fmax.at(found[:, 1], places[finite], numbers[finite])
    return found


@dataclass(frozen=True)
class Reference:
    """What a window of production is held against."""

    profile: Profile
    history: History

    @classmethod
    def of(
        cls, rows: pa.Table, scored: pa.Table, *, schema: FeatureSchema, plan: ReadPlan, step: timedelta
    ) -> "Reference":
        """Profile the rows a model was trained on, and the scores of rows it was not.

        Both tables carry ``event_timestamp``; ``rows`` the model's columns and, where they are known,
        each view's ``served__`` columns as in the prediction log, ``scored`` a ``score``. A step is the
        length of the shortest window of the past that can be told apart.

        Raises
        ------
        SchemaMismatch
            If a column holds values of another type than it is declared with.
        """
        seen = as_observed(rows, plan)
        known = [c for c in profiled_columns(schema, plan) if c != SCORE and c.name in seen.column_names]
        parts = [(seen, Layout.fit(seen, known)), (scored, Layout.fit(scored, [SCORE]))]
        columns = {name: c for table, layout in parts for name, c in layout.count(table).columns.items()}
        profile = Profile(rows.num_rows, columns, {})
        tables = {grid.name: table for table, layout in parts for grid in layout.grids}
        return cls(profile, History.of(profile, tables, step=step))


def write_reference(reference: Reference, folder: Path) -> None:
    """Write both files of a reference into a release that is being staged."""
    write_profile(reference.profile, folder / PROFILE)
    history = reference.history
    arrays, fields = [], []
    for name, steps in history.counts.items():
        labels = json.dumps(Buckets.of(reference.profile.columns[name]).labels).encode()
        for prefix, matrix in ((_ROWS, steps), (_RANGE, history.ranges.get(name))):
            if matrix is not None:
                arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1]))
                fields.append(pa.field(prefix + name, arrays[-1].type, metadata={_LABELS: labels}))
    metadata = {_FIRST: str(history.first_us).encode(), _LENGTH: str(history.step_us).encode()}
    table = pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=metadata))
    pq.write_table(table, folder / HISTORY, compression="zstd")


def read_reference(release: Release) -> Reference:
    """Read what a release was trained on.

    Raises
    ------
    ReleaseError
        If the release has no such files, or they were changed.
    SchemaMismatch
        If they are of another format, or were counted into other buckets than this program makes.
    """
    profile = read_profile(release.read_bytes(PROFILE), source=release.path / PROFILE)
    table = pq.read_table(pa.BufferReader(release.read_bytes(HISTORY)))
    matrices = {
        field.name: table[field.name].combine_chunks().flatten().to_numpy().reshape(-1, field.type.list_size)
        for field in table.schema
    }
    counts = {name.removeprefix(_ROWS): found for name, found in matrices.items() if name.startswith(_ROWS)}
    for name in counts:
        known = json.loads(table.schema.field(_ROWS + name).metadata[_LABELS])
        if list(Buckets.of(profile.columns[name]).labels) != known:
            raise SchemaMismatch(
                f"{release.path / HISTORY}: the buckets of '{name}' are not those this program makes. "
                "Train the model again."
            )
    ranges = {name.removeprefix(_RANGE): found for name, found in matrices.items() if name.startswith(_RANGE)}
    metadata = table.schema.metadata
    return Reference(profile, History(int(metadata[_FIRST]), int(metadata[_LENGTH]), counts, ranges))


def _microseconds(times: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.cast(pc.cast(times, pa.timestamp("us", tz="UTC")), pa.int64())
