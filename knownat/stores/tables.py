"""A table of feature rows, read lazily and with its two times in exact UTC microseconds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from knownat.errors import RepoError
from knownat.stores.parquet_pieces import Bounds, Pieces, RowGroup

EVENT_US, CREATED_US, VISIBLE_US = "__event_us", "__created_us", "__visible_us"
POSITION = "__position"

_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)
_FEW_FILES = 16
_TEXTS = (pl.String, pl.Categorical, pl.Enum)


@dataclass(frozen=True, kw_only=True)
class FeatureTable:
    """A table of feature rows under its view's own names.

    ``features`` are all features of the view: they break full ties, so that a join for some of
    them picks the same row as a join for all. ``types`` are their packed types as the view declares
    them; one that is not declared follows from its column. ``serialise`` turns the columns of
    opaque types into bytes. ``unchanged`` tells whether the files are still those that were opened: a
    table is read in several steps. A table without a created column was known when it happened.

    ``rows`` may carry each row's ``POSITION`` in ``origin``, which then holds the same columns for
    every row of the source: numbered as they are read, rows can still be filtered in the files.
    ``pieces`` are the files of exactly those rows, if they can be read without the engine.
    """

    name: str
    rows: pl.LazyFrame
    keys: tuple[str, ...]
    event: str
    created: str | None
    features: tuple[str, ...]
    types: Mapping[str, str] = field(default_factory=dict)
    serialise: Callable[[pa.Table], pa.Table] | None = None
    unchanged: Callable[[], bool] | None = None
    origin: pl.LazyFrame | None = None
    pieces: Pieces | None = None

    def narrowed(self, rows: pl.LazyFrame) -> "FeatureTable":
        """Keep some of the rows; where they are in the source stays known."""
        return replace(self, rows=rows, pieces=None)

    @property
    def times(self) -> tuple[str, str]:
        """The columns that tell when a row happened and when it became known."""
        return self.event, self.created or self.event

    def numbered(self) -> "FeatureTable":
        """Return the table with the ``POSITION`` of each row."""
        if self.origin is not None:
            return self
        return replace(self, rows=self.rows.with_row_index(POSITION), origin=self.rows)


@dataclass(frozen=True, kw_only=True)
class Window:
    """Which rows of a table to read: visible in (since, until], event not before ``event_from``."""

    since_us: int | None = None
    until_us: int | None = None
    event_from_us: int | None = None
    created_cutoff: bool = True

    def leaves_out(self, event: Bounds, created: Bounds) -> bool:
        """Tell whether no row can be in the window; nobody knows of bounds that are not known."""
        shown_by = [event, created] if self.created_cutoff else [event]
        return (
            any(_above(times.first_us, self.until_us) for times in shown_by)
            or all(_above(self.since_us, times.last_us, or_equal=True) for times in shown_by)
            or _above(self.event_from_us, event.last_us)
        )


def read_rows(
    table: FeatureTable, features: Sequence[str], window: Window, *, only: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Read keys, features and the times ``EVENT_US``, ``CREATED_US``, ``VISIBLE_US`` of a window.

    Rows with a null key are left out: they are no entity's. ``only`` names the entities to read.

    Raises
    ------
    RepoError
        If a column is missing, or a time or key cannot be used exactly.
    """
    rows = _collect(table, features, window, only)
    visible = pl.max_horizontal(EVENT_US, CREATED_US) if window.created_cutoff else pl.col(EVENT_US)
    return rows.with_columns(visible.alias(VISIBLE_US))


def read_times(table: FeatureTable, window: Window, *, only: pl.DataFrame | None = None) -> pl.DataFrame:
    """Read keys, ``EVENT_US`` and ``CREATED_US`` of a window, and each row's ``POSITION`` in the table.

    Raises the same as :func:`read_rows`.
    """
    return _collect(table.numbered(), (POSITION,), window, only)


def count_rows(table: FeatureTable) -> int:
    """Count a table's rows."""
    if table.pieces is not None and len(table.pieces.files) <= _FEW_FILES:
        return table.pieces.rows
    return int(table.rows.select(pl.len()).collect().item())


def time_groups(table: FeatureTable, window: Window) -> list[RowGroup] | None:
    """Choose the row groups to read for a window's times; None if the engine must read the table."""
    names = [*table.keys, *table.times]
    if table.pieces is None or not table.pieces.fit(names):
        return None
    chosen = []
    for group in table.pieces.row_groups:
        if any(group.nulls(name) != 0 for name in table.times):
            return None  # To be refused by name, with the number of them all.
        if not window.leaves_out(*map(group.bounds, table.times)):
            chosen.append(group)
    return chosen


def read_times_of(table: FeatureTable, groups: Sequence[RowGroup], window: Window) -> Iterator[pl.DataFrame]:
    """Yield what :func:`read_times` returns, a piece of a row group after another.

    Raises the same.
    """
    if table.pieces is not None:
        names = [*dict.fromkeys([*table.keys, *table.times])]
        for piece in table.pieces.read(names, groups, POSITION):
            yield _collect(table.narrowed(piece.lazy()), (POSITION,), window, None)


def _collect(
    table: FeatureTable, columns: Sequence[str], window: Window, only: pl.DataFrame | None
) -> pl.DataFrame:
    schema = table.rows.collect_schema()
    created = table.created or table.event
    wanted = [*dict.fromkeys([*table.keys, *columns])]
    check_columns(table, wanted)
    keys = [pl.col(name).cast(key_type(name, schema[name], where=table.name)) for name in table.keys]
    rest = [name for name in wanted if name not in table.keys]
    lazy = table.rows.filter(*_window_filters(schema, table.event, created, window))
    lazy = lazy.select(*keys, *rest, pl.col(table.event).alias(EVENT_US), pl.col(created).alias(CREATED_US))
    if table.keys:
        lazy = lazy.drop_nulls(table.keys)
    if only is not None and table.keys:
        lazy = lazy.join(only.lazy().select(table.keys), on=table.keys, how="semi", maintain_order="left")
    found = lazy.collect()
    return found.with_columns(
        exact_microseconds(found[EVENT_US], where=f"{table.name}, column '{table.event}'"),
        exact_microseconds(found[CREATED_US], where=f"{table.name}, column '{created}'"),
    )


def within(table: FeatureTable, window: Window) -> FeatureTable:
    """Narrow a table to the rows of a window; its null times stay, to be refused when they are read.

    Raises
    ------
    RepoError
        If a column of times is missing, or holds no timestamps.
    """
    created = table.created or table.event
    schema = table.rows.collect_schema()
    if missing := [name for name in (table.event, created) if name not in schema]:
        raise RepoError(f"{table.name}: its table has no column {missing}; it has {sorted(schema)}.")
    filters = _window_filters(schema, table.event, created, window)
    return table.narrowed(table.rows.filter(*filters))


def visible_us(table: FeatureTable, *, created_cutoff: bool) -> pl.Expr:
    """Express when a row became visible, in microseconds; a null time does not count here.

    Raises
    ------
    RepoError
        If a column of times holds no timestamps.
    """
    schema = table.rows.collect_schema()
    created = table.created or table.event
    event_us = _microseconds(schema, table.event)
    return pl.max_horizontal(event_us, _microseconds(schema, created)) if created_cutoff else event_us


def check_columns(table: FeatureTable, names: Sequence[str]) -> None:
    """Refuse a table that lacks one of these columns, or one of its times.

    Raises
    ------
    RepoError
        If a column is missing.
    """
    schema = table.rows.collect_schema()
    needed = [*dict.fromkeys([*names, table.event, table.created or table.event])]
    if missing := [name for name in needed if name not in schema]:
        raise RepoError(
            f"{table.name}: its table has no column {missing}; it has {sorted(schema)}. "
            "Correct the source's columns or its field_mapping, then run `knownat apply`."
        )


def exact_microseconds(times: pl.Series, *, where: str) -> pl.Series:
    """Return times as integer UTC microseconds; nanoseconds only if nothing is lost.

    A time without a zone is UTC, as Feast has it.

    Raises
    ------
    RepoError
        If a time is null, no timestamp, or finer than a microsecond.
    """
    kind = times.dtype
    if not isinstance(kind, pl.Datetime):
        raise RepoError(f"{where} holds {kind}, not timestamps. Write it as timestamp[us, tz=UTC].")
    if times.null_count():
        raise RepoError(
            f"{where} is null in {times.null_count()} rows, so nobody can say when they were known. "
            "Give every row a time, or leave these rows out."
        )
    ticks = times.to_physical()
    if kind.time_unit == "ns":
        if (ticks % 1_000 != 0).any():
            raise RepoError(f"{where} is finer than a microsecond. Round it where the table is written.")
        return ticks // 1_000
    return ticks * 1_000 if kind.time_unit == "ms" else ticks


def key_type(name: str, kind: pl.DataType, *, where: str) -> pl.DataType:
    """Name the type a key is compared as: integers widen to int64, categories to text.

    Raises
    ------
    RepoError
        If the key is of a type that could match another entity, as a float or a date could.
    """
    if isinstance(kind, _INTEGERS):
        return pl.Int64()
    if isinstance(kind, _TEXTS):
        return pl.String()
    if isinstance(kind, (pl.Boolean, pl.Null)):
        return kind
    raise RepoError(f"{where}: key '{name}' is {kind}; a key is an integer, text or boolean.")


def _window_filters(schema: pl.Schema, event: str, created: str, window: Window) -> list[pl.Expr]:
    # Null times are read on purpose, so that they are refused by name instead of skipped. The
    # comparisons stay on the stored type: so they prune the row groups of a sorted file.
    filters: list[pl.Expr] = []
    shown_by = [event, created] if window.created_cutoff and created != event else [event]
    if (until := window.until_us) is not None:
        filters += [~_after(schema, name, until) | pl.col(name).is_null() for name in shown_by]
    if (since := window.since_us) is not None:
        filters.append(pl.any_horizontal(_after(schema, n, since) | pl.col(n).is_null() for n in shown_by))
    if (event_from := window.event_from_us) is not None:
        filters.append(_after(schema, event, event_from - 1) | pl.col(event).is_null())
    return filters


def _above(left: int | None, right: int | None, *, or_equal: bool = False) -> bool:
    return left is not None and right is not None and (left > right or (or_equal and left == right))


def _after(schema: pl.Schema, name: str, microseconds: int) -> pl.Expr:
    kind = _moments(schema, name)
    if kind.time_unit != "us":
        ticks = pl.col(name).to_physical()
        # One microsecond more or less of a coarser or finer unit, without a rounding division.
        return ticks > microseconds * 1_000 if kind.time_unit == "ns" else ticks * 1_000 > microseconds
    return pl.col(name) > pl.lit(microseconds, dtype=pl.Int64).cast(kind)


def _microseconds(schema: pl.Schema, name: str) -> pl.Expr:
    unit, ticks = _moments(schema, name).time_unit, pl.col(name).to_physical()
    return {"ns": ticks // 1_000, "us": ticks, "ms": ticks * 1_000}[unit]


def _moments(schema: pl.Schema, name: str) -> pl.Datetime:
    kind = schema[name]
    if not isinstance(kind, pl.Datetime):
        raise RepoError(f"Column '{name}' holds {kind}, not timestamps. Write it as timestamp[us, tz=UTC].")
    return kind


def as_series(values: npt.NDArray[np.generic], *, valid: pa.Buffer | None = None) -> pl.Series:
    """View an array as a series without copying it; ``valid`` has a bit for each value that is not null."""
    kind = pa.from_numpy_dtype(values.dtype)
    return pl.Series(pa.Array.from_buffers(kind, len(values), [valid, pa.py_buffer(values)]))
