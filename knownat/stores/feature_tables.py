"""A sorted query written as one Parquet file, the same bytes each time."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from knownat.errors import RepoError

TIME = pa.timestamp("us", tz="UTC")
EVENT, CREATED, KNOWN_AT = "event_timestamp", "created_timestamp", "known_at"

# Small enough that a quarter of an hour of a year's table is read by its statistics alone.
_ROW_GROUP = 16_384
_VALUE_TYPES = (pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.bool_(), pa.string(), TIME)


class TableError(RepoError):
    """A table that a pipeline made is not one that features can be read from."""


def check_types(name: str, schema: pa.Schema) -> None:
    """Refuse a feature table whose times are not UTC microseconds, or with values Feast cannot hold.

    Raises
    ------
    TableError
        With every problem of the table at once.
    """
    problems = [
        f"column '{column}' is {schema.field(column).type}; it must be TIMESTAMPTZ ({TIME})"
        for column in (EVENT, CREATED)
        if schema.field(column).type != TIME
    ]
    problems += [
        f"column '{field.name}' is {field.type}; cast it to one of {[str(kind) for kind in _VALUE_TYPES]}"
        for field in schema
        if field.type not in _VALUE_TYPES and field.name not in (EVENT, CREATED)
    ]
    if problems:
        raise TableError("\n".join([f"Feature table '{name}':", *(f"- {problem}" for problem in problems)]))


def write_sorted(
    path: Path,
    batches: pa.RecordBatchReader,
    *,
    name: str,
    never_null: Sequence[str],
    unique: Sequence[str] = (),
) -> int:
    """Write sorted rows to a Parquet file that appears whole or not at all; return their number.

    One writer and row groups of a fixed size: how a parallel query cut its batches leaves no trace.

    Raises
    ------
    TableError
        If a column of ``never_null`` holds a null, or two rows agree in all columns of ``unique``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    rows, last = 0, None
    strings = [field.name for field in batches.schema if pa.types.is_string(field.type)]
    try:
        with pq.ParquetWriter(staged, batches.schema, compression="zstd", use_dictionary=strings) as writer:
            for group in _row_groups(batches):
                _check_rows(name, group, last, never_null=never_null, unique=unique)
                writer.write_table(group, row_group_size=_ROW_GROUP)
                rows, last = rows + group.num_rows, group.slice(group.num_rows - 1)
        # A rename is atomic on one file system: readers see the old table or the new one.
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
    return rows


def _row_groups(batches: pa.RecordBatchReader) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        held.append(batch)
        count += batch.num_rows
        if count < _ROW_GROUP:
            continue
        table = pa.Table.from_batches(held, batches.schema)
        whole = count - count % _ROW_GROUP
        for start in range(0, whole, _ROW_GROUP):
            yield table.slice(start, _ROW_GROUP).combine_chunks()
        held, count = table.slice(whole).to_batches(), count - whole
    if count:
        yield pa.Table.from_batches(held, batches.schema).combine_chunks()


def _check_rows(
    name: str, group: pa.Table, last: pa.Table | None, *, never_null: Sequence[str], unique: Sequence[str]
) -> None:
    if null := [column for column in never_null if group[column].null_count]:
        raise TableError(f"Table '{name}' has rows without {null}; its SQL must leave them out or fill them.")
    if not unique:
        return
    seen = group if last is None else pa.concat_tables([last, group])
    same = [pc.equal(seen[column][1:], seen[column][:-1]) for column in unique]
    equal = same[0]
    for column in same[1:]:
        equal = pc.and_(equal, column)
    if position := pc.index(equal, True).as_py() + 1:
        row = seen.select(list(unique)).slice(position, 1).to_pylist()[0]
        raise TableError(f"Table '{name}' has two rows with {row}; its SQL must keep one.")
