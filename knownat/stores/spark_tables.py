"""A table of feature rows on a cluster, its two times in exact UTC microseconds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as fn
from pyspark.sql import types as tp

from knownat.errors import RepoError
from knownat.stores.codec import RowSchema
from knownat.stores.spark_ties import packed_type

EVENT_US, CREATED_US, VISIBLE_US = "__event_us", "__created_us", "__visible_us"


@dataclass(frozen=True, kw_only=True)
class SparkTable:
    """A table of feature rows under its view's own names.

    ``features`` are all features of the view and ``types`` the packed types that it declares:
    together they break full ties, whichever features are asked for; ``opaque`` names the columns
    with the bytes of those that no packed type holds. A table without a created column was known
    when it happened.
    """

    name: str
    rows: DataFrame
    keys: tuple[str, ...]
    event: str
    created: str | None
    features: tuple[str, ...]
    types: Mapping[str, str] = field(default_factory=dict)
    opaque: Mapping[str, str] = field(default_factory=dict)

    @property
    def carried(self) -> tuple[str, ...]:
        """The columns that decide ties or may be asked for."""
        return (*self.features, *self.opaque.values())

    @property
    def stored(self) -> dict[str, tp.DataType]:
        """The types of its columns, as they are stored."""
        return {column.name: column.dataType for column in self.rows.schema.fields}

    def row_schema(self) -> RowSchema:
        """Return the layout of the payload that breaks its ties.

        Raises
        ------
        RepoError
            If a feature is of a type that no packed row holds.
        """
        stored = self.stored
        types = {name: self.types.get(name) or packed_type(stored[name]) for name in self.features}
        if unknown := {name: str(stored[name]) for name, dtype in types.items() if dtype is None}:
            raise RepoError(f"{self.name}: no packed row holds features {unknown}; declare another type.")
        return RowSchema.of(keys={}, features={name: str(dtype) for name, dtype in types.items()})


@dataclass(frozen=True, kw_only=True)
class Span:
    """Which rows of a table to read: visible in (since, until], event not before ``event_from``."""

    since_us: int | None = None
    until_us: int | None = None
    event_from_us: int | None = None
    created_cutoff: bool = True


def named(name: str) -> Column:
    """Name a column, whatever characters are in its name."""
    return fn.col(quoted(name))


def quoted(name: str) -> str:
    """Write a column's name for SQL, whatever characters are in it."""
    return f"`{name.replace('`', '``')}`"


def read_rows(table: SparkTable, span: Span) -> DataFrame:
    """Read keys, features and the times ``EVENT_US``, ``CREATED_US``, ``VISIBLE_US`` of a span.

    Rows with a null key are left out: they are no entity's. A null time is refused while Spark
    runs.

    Raises
    ------
    RepoError
        If a column is missing, a key is of a type that could match another entity, or a time
        column holds no timestamps.
    """
    stored = table.stored
    created = table.created or table.event
    needed = [*dict.fromkeys([*table.keys, *table.carried, table.event, created])]
    if missing := [name for name in needed if name not in stored]:
        raise RepoError(
            f"{table.name}: its table has no column {missing}; it has {sorted(stored)}. "
            "Correct the source's columns or its field_mapping, then run `knownat apply`."
        )
    keys = [named(k).cast(key_type(k, stored[k], where=table.name)).alias(k) for k in table.keys]
    times = {
        EVENT_US: microseconds(table.event, stored[table.event], where=f"{table.name}, column"),
        CREATED_US: microseconds(created, stored[created], where=f"{table.name}, column"),
    }
    rest = [named(name) for name in dict.fromkeys(table.carried) if name not in table.keys]
    rows = table.rows.where(_seen(table, created, span))
    rows = rows.select(*keys, *rest, *(time.alias(name) for name, time in times.items()))
    visible = fn.greatest(EVENT_US, CREATED_US) if span.created_cutoff else fn.col(EVENT_US)
    rows = rows.withColumn(VISIBLE_US, visible)
    return rows.dropna(subset=[*map(quoted, table.keys)]) if table.keys else rows


def microseconds(name: str, kind: tp.DataType, *, where: str) -> Column:
    """Return a time column as integer UTC microseconds; a time without a zone is UTC.

    Raises
    ------
    RepoError
        If it holds no timestamps.
    """
    if not isinstance(kind, (tp.TimestampType, tp.TimestampNTZType)):
        raise RepoError(
            f"{where} '{name}' holds {kind.simpleString()}, not timestamps. Write it as timestamp[us, "
            "tz=UTC]."
        )
    complaint = (
        f"{where} '{name}' is null in some rows, so nobody can say when they were known. "
        "Give every row a time, or leave these rows out."
    )
    exact = fn.unix_micros(named(name).cast(tp.TimestampType()))
    return fn.when(named(name).isNull(), fn.raise_error(complaint).cast(tp.LongType())).otherwise(exact)


def key_type(name: str, kind: tp.DataType, *, where: str) -> tp.DataType:
    """Name the type a key is compared as: integers widen to 64 bits.

    Raises
    ------
    RepoError
        If the key is of a type that could match another entity, as a float or a date could.
    """
    if isinstance(kind, tp.IntegralType):
        return tp.LongType()
    if isinstance(kind, tp.StringType):
        return tp.StringType()
    if isinstance(kind, (tp.BooleanType, tp.NullType)):
        return kind
    raise RepoError(f"{where}: key '{name}' is {kind.simpleString()}; a key is an integer, text or boolean.")


def _seen(table: SparkTable, created: str, span: Span) -> Column:
    # Null times are read on purpose, so that they are refused by name instead of skipped. The
    # comparisons stay on the stored columns: so Spark prunes the row groups of a sorted file.
    both = [table.event, created] if span.created_cutoff and created != table.event else [table.event]
    keep: list[Column] = []
    if span.until_us is not None:
        keep += [named(name).isNull() | (named(name) <= _moment(span.until_us)) for name in both]
    if span.since_us is not None:
        keep.append(_any([named(name).isNull() | (named(name) > _moment(span.since_us)) for name in both]))
    if span.event_from_us is not None:
        event = named(table.event)
        keep.append(event.isNull() | (event >= _moment(span.event_from_us)))
    result = fn.lit(True)
    for condition in keep:
        result = result & condition
    return result


def _any(conditions: Sequence[Column]) -> Column:
    result = conditions[0]
    for condition in conditions[1:]:
        result = result | condition
    return result


def _moment(us: int) -> Column:
    return fn.timestamp_micros(fn.lit(us))
