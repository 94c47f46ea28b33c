"""A source's files as one lazy table: Parquet, CSV and partitioned folders, local or in an object store.

Types are those of the files. Where a file has none, in CSV and in the names of partitions, they
are the declared ones; a value that does not fit its type is an error, never a null.
"""

from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
from feast.types import FeastType, from_feast_to_pyarrow_type

from knownat.errors import RepoError
from knownat.stores.locations import Location
from knownat.stores.parquet_pieces import Pieces

Declared = Mapping[str, FeastType]
"""Columns of the files by the types that a feature view declares for them."""

MOMENT = pl.Datetime("us", "UTC")

_OBJECT = "__object"
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
_TRUTHS = {"true": True, "false": False, None: None}
# ISO 8601: a date, then maybe a time with up to six digits of a second, then maybe an offset.
_TIME = (
    r"^(?<date>\d{4}-\d\d-\d\d)(?:[T ](?<minute>\d\d:\d\d)(?::(?<second>\d\d(?:\.\d{1,6})?))?"
    r"(?<offset>Z|[+-]\d\d:?\d\d)?)?$"
)
_NUMBERS: tuple[list[pl.DataType], ...] = (
    [pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64()],
    [pl.Float32(), pl.Float64()],
)


def polars_type(dtype: FeastType, name: str) -> pl.DataType:
    """Return the engine's type for a declared one.

    Raises
    ------
    RepoError
        If it has none.
    """
    try:
        kind = from_feast_to_pyarrow_type(dtype)
        declared = pl.DataFrame(pa.table({name: pa.array([], kind)})).schema[name]
    except (ValueError, AssertionError, pl.exceptions.PolarsError) as error:
        raise RepoError(f"'{name}' is declared as {dtype}, which this store cannot read: {error}.") from error
    return MOMENT if isinstance(declared, pl.Datetime) else declared


@dataclass(frozen=True)
class Opened:
    """The files of a source as they were when it was opened; what is added later does not belong."""

    location: Location
    files: list[str]
    unchanged: Callable[[], bool] | None
    """Tells whether they are still the same. A CSV in an object store is not watched."""

    @classmethod
    def now(cls, location: Location) -> "Opened":
        """List the files, and note how to recognise them.

        Raises
        ------
        RepoError
            If there are no files.
        """
        if not location.remote:
            files = location.files()
            stamps = [*map(_stamp, files)]
            return cls(location, [*map(str, files)], lambda: [*map(_stamp, files)] == stamps)
        if location.csv:
            return cls(location, [location.address], None)
        counts = _counts(location, location.address)
        objects = sorted(counts)
        return cls(location, objects, lambda: _counts(location, objects) == counts)


def scan_files(
    opened: Opened, declared: Declared | None = None, *, number: str | None = None
) -> pl.LazyFrame:
    """Read the files of a source lazily; nothing but their headers is read now.

    ``number`` names a column to hold each row's number, if any: counted while the files are read.

    Raises
    ------
    RepoError
        If their columns do not fit together, or a CSV has no declared types.
    """
    if opened.location.csv:
        rows = _scan_csv(opened, declared)
        return rows.with_row_index(number) if number else rows
    location, files = opened.location, opened.files
    partitions = _partition_types(opened, declared or {})
    # One by one, the headers of many objects would take long; the engine tells if they differ.
    one = len(files) == 1 or location.remote
    schemas = [()] if one else [tuple(_schema(location, file).items()) for file in files]
    alike: dict[tuple[tuple[str, pl.DataType], ...], list[str]] = {}
    for place, file in enumerate(files):
        alike.setdefault(schemas[0 if one else place], []).append(file)
    parts = [_scan(location, some, partitions) for some in alike.values()]
    if len(parts) > 1:
        target = _common_schema(location, files, [dict(schema) for schema in schemas])
        target |= dict.fromkeys(partitions, pl.String())
        parts = [
            part.select(_as_common(target, {*dict(schema), *partitions}))
            for part, schema in zip(parts, alike, strict=True)
        ]
    rows = pl.concat(parts) if len(parts) > 1 else parts[0]
    # A row is numbered by the scan itself only if nothing comes between.
    rows = rows.with_row_index(number) if number else rows
    return rows.with_columns(_typed(location, name, kind) for name, kind in partitions.items())


def pieces_of(opened: Opened, schema: pl.Schema, own_names: Mapping[str, str]) -> Pieces | None:
    """Return the files of a source that can be read without the engine, if that is so.

    ``schema`` has the columns under the view's names, ``own_names`` what differs in the files.
    """
    location = opened.location
    if location.csv or location.remote or any(map(location.partitions, opened.files)):
        return None
    return Pieces(tuple(opened.files), schema, own_names)


def partition_names(opened: Opened) -> list[str]:
    """Name the columns of a source that only the names of its folders hold."""
    return [*_partition_types(opened, {})]


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        stat = file.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _counts(location: Location, objects: str | list[str]) -> dict[str, int]:
    # An object store has no cheap and common way to tell versions apart; the number of rows is in
    # each object's header, which is read anyway.
    rows = pl.scan_parquet(
        objects,
        storage_options=dict(location.options),
        hive_partitioning=False,
        include_file_paths=_OBJECT,
    )
    return dict(rows.group_by(_OBJECT).len().collect().iter_rows())


def _as_common(target: Mapping[str, pl.DataType], have: Container[str]) -> list[pl.Expr]:
    # An older file lacks the columns that were added since: there they are null.
    return [(pl.col(n) if n in have else pl.lit(None)).cast(kind).alias(n) for n, kind in target.items()]


def _scan(location: Location, files: list[str], partitions: Container[str]) -> pl.LazyFrame:
    options = dict(location.options)
    if not partitions:
        return pl.scan_parquet(files, storage_options=options, hive_partitioning=False, glob=False)
    if above := location.partitions_above():
        raise RepoError(
            f"Source '{location.source}' has partitions, but so has the path to it: {sorted(above)} in "
            f"{location.address} would be read as columns. Move it to a folder without '='."
        )
    inside = _schema(location, files[0])
    text = {name: inside.get(name, pl.String()) for name in location.partitions(files[0])}
    return pl.scan_parquet(
        files, storage_options=options, hive_partitioning=True, hive_schema=text, glob=False
    )


def _partition_types(opened: Opened, declared: Declared) -> dict[str, pl.DataType]:
    values: dict[str, set[str]] = {}
    for file in opened.files:
        for name, value in opened.location.partitions(file).items():
            values.setdefault(name, set()).add(value)
    # A column that the files hold themselves has its type there.
    inside = _schema(opened.location, opened.files[0]) if values else {}
    values = {name: some for name, some in values.items() if name not in inside}
    return {
        name: polars_type(declared[name], name) if name in declared else _inferred(some)
        for name, some in values.items()
    }


def _inferred(values: Collection[str]) -> pl.DataType:
    return pl.Int64() if all(map(_is_integer, values)) else pl.String()


def _is_integer(value: str) -> bool:
    # "01" stays text: as an integer it would be another key.
    return value == _NULL_PARTITION or (value.lstrip("-").isdecimal() and str(int(value)) == value)


def _schema(location: Location, file: str) -> pl.Schema:
    return _scan(location, [file], ()).collect_schema()


def _common_schema(
    location: Location, files: Sequence[str], schemas: Sequence[Mapping[str, pl.DataType]]
) -> dict[str, pl.DataType]:
    common: dict[str, pl.DataType] = {}
    for file, schema in zip(files, schemas, strict=True):
        for name, kind in schema.items():
            if (wider := _wider(common.get(name, kind), kind)) is None:
                raise RepoError(
                    f"Source '{location.source}': column '{name}' is {kind} in {file}, but {common[name]} in "
                    "the files before it. Write them all with one type."
                )
            common[name] = wider
    return common


def _wider(left: pl.DataType, right: pl.DataType) -> pl.DataType | None:
    if left == right or isinstance(right, pl.Null):
        return left
    if isinstance(left, pl.Null):
        return right
    for family in _NUMBERS:
        if left in family and right in family:
            return family[max(family.index(left), family.index(right))]
    if isinstance(left, pl.Datetime) and isinstance(right, pl.Datetime) and left.time_zone == right.time_zone:
        return min(left, right, key=lambda kind: ("ns", "us", "ms").index(kind.time_unit))
    return None


def _scan_csv(opened: Opened, declared: Declared | None) -> pl.LazyFrame:
    location = opened.location
    if declared is None:
        raise RepoError(
            f"Source '{location.source}' is CSV, which has no types of its own. Read it through a feature "
            "view that declares them, or write it as Parquet."
        )
    options = dict(location.options)
    text = pl.scan_csv(opened.files, infer_schema=False, glob=location.remote, storage_options=options)
    known = [name for name in text.collect_schema() if name in declared]
    return text.with_columns(_typed(location, name, polars_type(declared[name], name)) for name in known)


def csv_schema(opened: Opened, times: Collection[str]) -> pa.Schema:
    """Guess the types of a CSV from all of its values; ``times`` are UTC.

    A definition that declares them needs no guess: "007" looks like a number.
    """
    options = dict(opened.location.options)
    rows = pl.scan_csv(
        opened.files, infer_schema_length=None, glob=opened.location.remote, storage_options=options
    )
    schema: pa.Schema = rows.head(0).collect().to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    kinds = {
        field.name: pa.string() if pa.types.is_large_string(field.type) else field.type for field in schema
    }
    return pa.schema(kinds | {name: pa.timestamp("us", tz="UTC") for name in times if name in kinds})


def _typed(location: Location, name: str, kind: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if isinstance(kind, pl.Datetime):
        return parsed_times(column)
    if isinstance(kind, pl.Boolean):
        return column.str.to_lowercase().replace_strict(_TRUTHS, return_dtype=pl.Boolean)
    if kind.is_nested() or isinstance(kind, pl.Binary):
        raise RepoError(
            f"Source '{location.source}' has its column '{name}' as text, which cannot hold the declared "
            f"{kind}. Write it as Parquet."
        )
    return column.cast(kind)


def parsed_times(text: pl.Expr) -> pl.Expr:
    """Parse ISO 8601 times, in UTC where they name no offset; anything else is an error.

    The engine's own parser guesses whether a day or a month comes first, and drops digits beyond
    microseconds.
    """
    part = text.str.extract_groups(_TIME).struct
    minute, second, offset = (part.field(name) for name in ("minute", "second", "offset"))
    whole = pl.format(
        "{} {}:{}{}",
        part.field("date"),
        minute.fill_null("00:00"),
        second.fill_null("00"),
        offset.replace({"Z": "+00:00"}).fill_null("+00:00"),
    )
    # What does not match is parsed as it stands, and named in the error.
    return (
        pl.coalesce(whole, text)
        .alias(text.meta.output_name())
        .str.to_datetime("%Y-%m-%d %H:%M:%S%.f%z", time_unit="us", time_zone="UTC")
    )
