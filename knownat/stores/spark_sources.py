"""From a Feast source to a table on Spark: the same files, columns and types as in process.

Files on this machine, or on a file system that every executor has mounted at the same path, are
listed here and read there. A URL is Spark's own to open, with what ``spark_conf`` says of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from feast.data_source import DataSource
from feast.feature_view import FeatureView
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.repo_config import RepoConfig
from feast.types import FeastType, from_feast_to_pyarrow_type
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as fn
from pyspark.sql import types as tp
from pyspark.sql.pandas.types import from_arrow_type

from knownat.errors import RepoError
from knownat.stores.feast_types import OPAQUE, packed_types
from knownat.stores.locations import Location, locate
from knownat.stores.scanning import Declared
from knownat.stores.sources import batch_source, declared_types, view_keys
from knownat.stores.spark_opaque import with_bytes
from knownat.stores.spark_tables import SparkTable, named, quoted

_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
_NANOSECONDS = "spark.sql.legacy.parquet.nanosAsLong"
# ISO 8601, in UTC where it names no offset, to the microsecond; Spark's own cast drops further digits.
_TIME = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?)?$"
_WIDENING: tuple[tuple[tp.DataType, ...], ...] = (
    (tp.ByteType(), tp.ShortType(), tp.IntegerType(), tp.LongType()),
    (tp.FloatType(), tp.DoubleType()),
)

Fields = Mapping[str, tp.DataType]


def spark_table(view: FeatureView, config: RepoConfig, session: SparkSession) -> SparkTable:
    """Open a view's source under the view's own names, field mapping applied to every column.

    Raises
    ------
    RepoError
        If the source cannot be read, or is not there.
    """
    source = batch_source(view)
    mapping = dict(source.field_mapping or {})
    rows = read_source(source, config, session, declared_types(view))
    rows = rows.select(*(named(name).alias(mapping.get(name, name)) for name in rows.columns))
    types = packed_types(view)
    opaque = [name for name, dtype in types.items() if dtype.startswith(OPAQUE) and name in rows.columns]
    rows, columns = with_bytes(rows, view, opaque)
    return SparkTable(
        name=view.name,
        rows=rows,
        keys=view_keys(view),
        # Feast lets a definition name its time columns as they are in the file or as mapped.
        event=mapping.get(source.timestamp_field, source.timestamp_field),
        created=mapping.get(source.created_timestamp_column, source.created_timestamp_column) or None,
        features=tuple(feature.name for feature in view.features),
        types=types,
        opaque=columns,
    )


def read_source(
    source: DataSource, config: RepoConfig, session: SparkSession, declared: Declared | None = None
) -> DataFrame:
    """Open a file source, or one of Feast's Spark sources; nothing but headers is read.

    Raises
    ------
    RepoError
        If it is another kind of source, there is no such file, or it is CSV and nothing is declared.
    """
    if isinstance(source, SparkSource):
        return _read_spark(source, session)
    location = locate(source, config)
    if location.csv:
        return _read_csv(location, session, declared)
    if location.remote:
        return _read_remote(session, location, declared or {})
    return _read_local(location, session, declared or {})


def spark_type(dtype: FeastType, name: str) -> tp.DataType:
    """Return Spark's type for a declared one.

    Raises
    ------
    RepoError
        If it has none.
    """
    try:
        return from_arrow_type(from_feast_to_pyarrow_type(dtype), prefer_timestamp_ntz=False)
    except (ValueError, AssertionError, TypeError) as error:
        raise RepoError(f"'{name}' is declared as {dtype}, which Spark cannot read: {error}.") from error


def _read_spark(source: SparkSource, session: SparkSession) -> DataFrame:
    options = source.spark_options
    if options.table:
        return session.table(options.table)
    if options.query:
        return session.sql(options.query)
    return session.read.format(options.file_format or "parquet").load(options.path)


def _read_local(location: Location, session: SparkSession, declared: Declared) -> DataFrame:
    alike: dict[str, list[Path]] = {}
    schemas: dict[str, pa.Schema] = {}
    for file in location.files():
        schema = pq.read_schema(file)
        words = repr([(field.name, str(field.type)) for field in schema])
        alike.setdefault(words, []).append(file)
        schemas[words] = schema
    parts = [_read_parquet(session, location, files, schemas[words]) for words, files in alike.items()]
    rows = parts[0] if len(parts) == 1 else _together(location, parts)
    inside = {name for schema in schemas.values() for name in schema.names}
    folders = [location.partitions(str(file)) for file in location.files()]
    outside = {name for folder in folders for name in folder if name not in inside}
    kinds = {
        name: spark_type(declared[name], name)
        if name in declared
        else _inferred(str(folder.get(name, _NULL_PARTITION)) for folder in folders)
        for name in outside
    }
    return _as_declared(rows, kinds)


def _read_parquet(
    session: SparkSession, location: Location, files: Sequence[Path], schema: pa.Schema
) -> DataFrame:
    fine = [f.name for f in schema if pa.types.is_timestamp(f.type) and f.type.unit == "ns"]
    if fine:
        # Spark has no nanoseconds. For a table that has some, it reads them as numbers.
        session.conf.set(_NANOSECONDS, "true")
    folder = location.path if location.path.is_dir() else location.path.parent
    # Listed files are files: no character in a path is a wildcard.
    reader = session.read.option("__globPaths__", "false").option("basePath", _uri(folder))
    rows = reader.parquet(*map(_uri, files))
    return rows.withColumns({name: _exact_moment(name, schema.field(name).type, location) for name in fine})


def _read_remote(session: SparkSession, location: Location, declared: Declared) -> DataFrame:
    before = session.conf.get(_NANOSECONDS)
    # Nobody read the files' own schema: nanoseconds there must not become numbers.
    session.conf.set(_NANOSECONDS, "false")
    rows = session.read.parquet(location.address.rstrip("/"))
    session.conf.set(_NANOSECONDS, before or "false")
    # What only a folder's name says is text until something declares it.
    text = [field.name for field in rows.schema.fields if isinstance(field.dataType, tp.StringType)]
    return _as_declared(rows, {name: spark_type(declared[name], name) for name in text if name in declared})


def _read_csv(location: Location, session: SparkSession, declared: Declared | None) -> DataFrame:
    if declared is None:
        raise RepoError(
            f"Source '{location.source}' is CSV, which has no types of its own. Read it through a feature "
            "view that declares them, or write it as Parquet."
        )
    files = [location.address] if location.remote else [*map(_uri, location.files())]
    # A line break may be inside quotes, so a file is read by one task.
    rows = session.read.csv(files, header=True, multiLine=True, escape='"')
    known = {name: spark_type(declared[name], name) for name in rows.columns if name in declared}
    return _as_declared(rows, known)


def _as_declared(rows: DataFrame, kinds: Fields) -> DataFrame:
    return rows.withColumns({name: _parsed(name, kind) for name, kind in kinds.items()}) if kinds else rows


def _parsed(name: str, kind: tp.DataType) -> Column:
    """Turn text into its type; what does not fit is an error while Spark runs, never a null."""
    text = named(name)
    if isinstance(kind, (tp.ArrayType, tp.MapType, tp.StructType, tp.BinaryType)):
        raise RepoError(
            f"Column '{name}' is text, which cannot hold the declared {kind.simpleString()}. Write its "
            "source as Parquet."
        )
    if not isinstance(kind, tp.TimestampType):
        return text.cast(kind)
    complaint = fn.raise_error(fn.concat(fn.lit(f"column '{name}' holds no time in ISO 8601: "), text))
    good = text.isNull() | text.rlike(_TIME)
    return fn.when(good, text.cast(kind)).otherwise(complaint.cast(kind))


def _together(location: Location, parts: Sequence[DataFrame]) -> DataFrame:
    """Put files of several schemas together: an older file lacks what was added since, as nulls."""
    common: dict[str, tp.DataType] = {}
    for part in parts:
        for column in part.schema.fields:
            before = common.get(column.name, column.dataType)
            if (wider := _wider(before, column.dataType)) is None:
                raise RepoError(
                    f"Source '{location.source}': column '{column.name}' is {before.simpleString()} in some "
                    f"files and {column.dataType.simpleString()} in others. Write them all with one type."
                )
            common[column.name] = wider
    return reduce(DataFrame.unionByName, (_select(part, common) for part in parts))


def _select(rows: DataFrame, kinds: Fields) -> DataFrame:
    have = set(rows.columns)
    return rows.select(
        *((named(n) if n in have else fn.lit(None)).cast(kind).alias(n) for n, kind in kinds.items())
    )


def _wider(left: tp.DataType, right: tp.DataType) -> tp.DataType | None:
    if left == right or isinstance(right, tp.NullType):
        return left
    if isinstance(left, tp.NullType):
        return right
    for family in _WIDENING:
        if left in family and right in family:
            return family[max(family.index(left), family.index(right))]
    return None


def _inferred(values: Iterable[str]) -> tp.DataType:
    return tp.LongType() if all(map(_is_integer, values)) else tp.StringType()


def _is_integer(value: str) -> bool:
    # "01" stays text: as an integer it would be another key.
    return value == _NULL_PARTITION or (value.lstrip("-").isdecimal() and str(int(value)) == value)


def _exact_moment(name: str, kind: pa.DataType, location: Location) -> Column:
    complaint = fn.raise_error(
        f"Source '{location.source}', column '{name}' is finer than a microsecond. "
        "Round it where the table is written."
    )
    moment = fn.expr(f"timestamp_micros({quoted(name)} div 1000)")
    exact = fn.when(named(name) % 1_000 != 0, complaint.cast(tp.TimestampType())).otherwise(moment)
    return exact if kind.tz else exact.cast(tp.TimestampNTZType())


def _uri(path: Path) -> str:
    return f"file:{path}"
