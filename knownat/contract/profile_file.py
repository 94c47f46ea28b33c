"""A profile as a Parquet file: one row a column, its grid beside its counts."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from knownat.contract.grid import NameGrid, NumberGrid
from knownat.contract.held import Held, HeldNames, HeldNumbers
from knownat.contract.profile import ColumnProfile, Profile
from knownat.errors import SchemaMismatch

FORMAT = 1
_FORMAT, _ROWS, _OTHERS = b"knownat.profile", b"knownat.rows", b"knownat.others"
_STEPS, _TALLY = pa.map_(pa.int64(), pa.int64()), pa.map_(pa.string(), pa.int64())
_SCHEMA = pa.schema(
    [
        ("column", pa.string()),
        ("edges", pa.list_(pa.float64())),
        ("scale", pa.float64()),
        ("names", pa.list_(pa.string())),
        ("complete", pa.bool_()),
        ("counts", pa.list_(pa.int64())),
        ("below", _STEPS),
        ("above", _STEPS),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("minus_infinite", pa.int64()),
        ("infinite", pa.int64()),
        ("new", pa.int64()),
        ("new_names", _TALLY),
        ("nulls", pa.int64()),
        ("nans", pa.int64()),
        ("absent", pa.int64()),
        ("mistyped", pa.int64()),
        ("types", pa.list_(pa.string())),
    ]
)


def write_profile(profile: Profile, path: Path) -> None:
    """Write a profile with its layout; the same profile gives the same bytes."""
    rows = [_Row.of(name, column).model_dump() for name, column in profile.columns.items()]
    metadata = {
        _FORMAT: str(FORMAT).encode(),
        _ROWS: str(profile.rows).encode(),
        _OTHERS: json.dumps(profile.others, sort_keys=True).encode(),
    }
    table = pa.Table.from_pylist(rows, schema=_SCHEMA).replace_schema_metadata(metadata)
    pq.write_table(table, path, compression="zstd")


def read_profile(content: bytes, *, source: object) -> Profile:
    """Read a profile back, equal to what was written; ``source`` names it in errors.

    Raises
    ------
    SchemaMismatch
        If the bytes are no profile of this format.
    """
    try:
        table = pq.read_table(pa.BufferReader(content))
        metadata: Mapping[bytes, bytes] = table.schema.metadata or {}
        if metadata.get(_FORMAT) != str(FORMAT).encode():
            raise SchemaMismatch(f"{source} is no profile of format {FORMAT}. Make it again.")
        rows = [_Row.model_validate(row) for row in table.to_pylist(maps_as_pydicts="strict")]
        columns = {row.column: row.profile() for row in rows}
        return Profile(int(metadata[_ROWS]), columns, json.loads(metadata[_OTHERS]))
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise SchemaMismatch(f"{source} cannot be read as a profile: {error}. Make it again.") from error


class _Row(BaseModel):
    """One column as it lies in the file; what the other kind of column has is null."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    column: str
    edges: tuple[float, ...] | None = None
    scale: float | None = None
    names: tuple[str, ...] | None = None
    complete: bool | None = None
    counts: tuple[int, ...]
    below: dict[int, int] | None = None
    above: dict[int, int] | None = None
    low: float | None = None
    high: float | None = None
    minus_infinite: int | None = None
    infinite: int | None = None
    new: int | None = None
    new_names: dict[str, int] | None = None
    nulls: int
    nans: int
    absent: int
    mistyped: int
    types: tuple[str, ...]

    @classmethod
    def of(cls, name: str, column: ColumnProfile) -> "_Row":
        row = cls(
            column=name,
            counts=tuple(column.held.counts.tolist()),
            nulls=column.nulls,
            nans=column.nans,
            absent=column.absent,
            mistyped=column.mistyped,
            types=tuple(sorted(column.types)),
        )
        return row.model_copy(update=_held_fields(column.held))

    def profile(self) -> ColumnProfile:
        held = self._numbers() if self.names is None else self._names(self.names)
        if len(self.counts) != held.grid.buckets:
            raise ValueError(f"column '{self.column}' has {len(self.counts)} counts for other buckets")
        return ColumnProfile(
            held=held,
            nulls=self.nulls,
            nans=self.nans,
            absent=self.absent,
            mistyped=self.mistyped,
            types=frozenset(self.types),
        )

    def _numbers(self) -> HeldNumbers:
        return HeldNumbers(
            grid=NumberGrid(self.column, self.edges or (), self.scale or 0.0),
            counts=np.array(self.counts, dtype=np.int64),
            below=self.below or {},
            above=self.above or {},
            low=self.low,
            high=self.high,
            minus_infinite=self.minus_infinite or 0,
            infinite=self.infinite or 0,
        )

    def _names(self, names: tuple[str, ...]) -> HeldNames:
        grid = NameGrid(self.column, names, complete=bool(self.complete))
        return HeldNames(grid, np.array(self.counts, dtype=np.int64), self.new or 0, self.new_names or {})


def _held_fields(held: Held) -> dict[str, object]:
    if isinstance(held, HeldNames):
        names = dict(sorted(held.new_names.items()))
        return {"names": held.grid.names, "complete": held.grid.complete, "new": held.new, "new_names": names}
    return {
        "edges": held.grid.edges,
        "scale": held.grid.scale,
        "below": dict(sorted(held.below.items())),
        "above": dict(sorted(held.above.items())),
        "low": held.low,
        "high": held.high,
        "minus_infinite": held.minus_infinite,
        "infinite": held.infinite,
    }
