"""The as-of join on Spark: the rules of ``knownat.stores.asof`` as union and window.

Questions and rows of a key go through one window in order of visibility, rows before the questions
of the same instant. The greatest (event, created, payload) seen so far is what a question may use,
so nothing is joined by inequality and no question can get lost or multiply: each comes out of the
window as it went in. Views of the same keys share one shuffle.

A key's rows are walked by one task, in order. However many they are, it sorts and buffers on disk
what does not fit in memory; a key that holds most of a table makes that task long, not large.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pyspark.sql import Column, DataFrame, Window, WindowSpec
from pyspark.sql import functions as fn
from pyspark.sql import types as tp

from knownat.errors import RepoError
from knownat.stores.spark_tables import (
    CREATED_US,
    EVENT_US,
    VISIBLE_US,
    Span,
    SparkTable,
    key_type,
    microseconds,
    named,
    read_rows,
)
from knownat.stores.spark_ties import payload_order

_AT, _VIEW, _SPREAD, _ASKED, _KNOWN, _QUESTION = "__at", "__view", "__spread", "__asked", "__known", "__q"
# Questions with a null key match nothing; they are spread so that no task gets them all.
_SPREADS = 1_021
_LONGEST_TTL_US = 1 << 62


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What is asked of one table.

    ``keys`` maps the table's keys to the examples' columns that hold them, ``features`` the wanted
    features to the names of the new columns. A row is null once its event is older than ``ttl_us``;
    0 keeps it for ever. ``found`` names a column that tells which row it was, expired or not.
    """

    table: SparkTable
    keys: Mapping[str, str]
    features: Mapping[str, str]
    ttl_us: int = 0
    found: str | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The span of the questions' times, so that rows nobody can see are not read."""

    first_us: int
    last_us: int
    known_until_us: int | None = None
    """The last time by which a row must be visible, if that is not the last question's."""

    @property
    def until_us(self) -> int:
        """The time after which no row is seen any more."""
        return self.last_us if self.known_until_us is None else self.known_until_us


@dataclass(frozen=True)
class _Group:
    """Asks whose tables have keys of the same types in the same columns of the examples."""

    columns: tuple[str, ...]
    types: tuple[tp.DataType, ...]
    asks: list[Ask] = field(default_factory=list)


def join_as_of(
    examples: DataFrame,
    asks: Sequence[Ask],
    *,
    event_timestamp: str,
    known_at: str | None = None,
    asked: Asked | None = None,
    created_cutoff: bool = True,
) -> DataFrame:
    """Give each example the newest visible row of every table; its own columns come first.

    Parameters
    ----------
    event_timestamp
        The column with the time of the question; the ttl is measured here.
    known_at
        The column with the time by which a row must be visible, if that is another.
    created_cutoff
        Off, a row counts as visible from its event: Feast's default.

    Raises
    ------
    RepoError
        If a key is of another type than the table's, or a column is missing. Null times, and
        questions outside ``asked``, are refused while Spark runs.
    """
    needed = [event_timestamp, known_at or event_timestamp, *(k for ask in asks for k in ask.keys.values())]
    if missing := [name for name in dict.fromkeys(needed) if name not in examples.columns]:
        raise RepoError(f"The examples have no column {missing}; they have {examples.columns}.")
    types = {column.name: column.dataType for column in examples.schema.fields}
    where = "The examples' column"
    times = {
        _ASKED: microseconds(event_timestamp, types[event_timestamp], where=where),
        _KNOWN: microseconds(known_at or event_timestamp, types[known_at or event_timestamp], where=where),
    }
    made = [name for ask in asks for name in [*ask.features.values(), *([ask.found] if ask.found else [])]]
    questions = examples.select(*map(named, examples.columns), *(t.alias(n) for n, t in times.items()))
    if asked is not None:
        questions = _guarded(questions, asked)
    for group in _groups(asks, types):
        questions = _answer(questions, group, asked, created_cutoff=created_cutoff)
    return questions.select(*map(named, [*examples.columns, *made]))


def newest_visible(table: SparkTable, *, since_us: int | None, until_us: int) -> DataFrame:
    """Find the newest row visible by ``until`` of every key with a row that became so after ``since``.

    A key is found whatever the row's event time, so a late correction is not missed. Columns are
    keys, features, ``EVENT_US``, ``CREATED_US`` and ``VISIBLE_US``, one row a key.
    """
    if since_us is None:
        return newest_in(table, Span(until_us=until_us))
    fresh = read_rows(table, Span(since_us=since_us, until_us=until_us))
    oldest = fresh.agg(fn.min(EVENT_US)).first()
    # Only a row of the same or a newer event can outdo a fresh one; an empty table has none.
    span = Span(until_us=until_us, event_from_us=oldest[0] if oldest else None)
    found = newest_in(table, span, latest="__latest")
    return found.where(fn.col("__latest") > since_us).drop("__latest")


def newest_in(table: SparkTable, span: Span, *, latest: str | None = None) -> DataFrame:
    """Find the newest row of every key among those of a span.

    Columns are keys, features and the three times; ``latest`` names one more, the time at which
    the last row of the key became visible, if that is wanted.
    """
    rows = read_rows(table, span)
    rank = fn.struct(EVENT_US, CREATED_US, _payload(table, named).alias("tie"))
    times = (EVENT_US, CREATED_US, VISIBLE_US)
    kept = fn.struct(*map(named, table.features), *times)
    measures = [fn.max_by(kept, rank).alias("__best")]
    if latest is not None:
        measures.append(fn.max(VISIBLE_US).alias(latest))
    found = rows.groupBy(*map(named, table.keys)).agg(*measures)
    best = fn.col("__best")
    # Without keys, an empty table still has one group.
    return found.where(best.isNotNull()).select(
        *map(named, table.keys),
        *(best.getField(name).alias(name) for name in (*table.features, *times)),
        *([latest] if latest else []),
    )


def _guarded(questions: DataFrame, asked: Asked) -> DataFrame:
    """Refuse questions outside the span that the tables were read for: their rows may be missing."""
    inside = fn.col(_ASKED).between(asked.first_us, asked.last_us) & (fn.col(_KNOWN) <= asked.until_us)
    complaint = fn.raise_error(
        "The examples changed while they were read: some are outside the times that they had at first. "
        "Make their SQL deterministic, or save its result to a table first."
    )
    checked = fn.when(inside, fn.col(_KNOWN)).otherwise(complaint.cast(tp.LongType()))
    return questions.withColumn(_KNOWN, checked)


def _groups(asks: Sequence[Ask], types: Mapping[str, tp.DataType]) -> list[_Group]:
    groups: dict[tuple[object, ...], _Group] = {}
    for ask in asks:
        stored = ask.table.stored
        kinds: dict[str, tp.DataType] = {}
        for name in ask.table.keys:
            if name not in stored:
                raise RepoError(f"{ask.table.name}: its table has no key '{name}'; it has {sorted(stored)}.")
            column = ask.keys[name]
            kinds[column] = key_type(name, stored[name], where=ask.table.name)
            given = key_type(column, types[column], where=f"{ask.table.name}, examples")
            if given not in (kinds[column], tp.NullType()):
                raise RepoError(
                    f"{ask.table.name}: key '{name}' is {kinds[column].simpleString()} in the table, but "
                    f"'{column}' is {given.simpleString()} in the examples. Cast the examples' column: a "
                    "key is never converted in silence."
                )
        columns = tuple(sorted(kinds))
        group = _Group(columns, tuple(kinds[name] for name in columns))
        groups.setdefault((columns, tuple(map(str, group.types))), group).asks.append(ask)
    return list(groups.values())


def _answer(questions: DataFrame, group: _Group, asked: Asked | None, *, created_cutoff: bool) -> DataFrame:
    """Send the questions of one group past the rows of its tables; every question comes back once."""
    both = _as_questions(questions, group)
    for place, ask in enumerate(group.asks):
        span = Span(
            until_us=asked.until_us if asked else None,
            event_from_us=asked.first_us - _ttl(ask) if asked and ask.ttl_us and not ask.found else None,
            created_cutoff=created_cutoff,
        )
        rows = _as_rows(read_rows(ask.table, span), ask, place, group)
        both = both.unionByName(rows, allowMissingColumns=True)
    walk = Window.partitionBy(*_keys(group), _SPREAD).orderBy(_AT, _VIEW, EVENT_US, CREATED_US)
    both = both.withColumn("__tied", _is_tied(walk))
    so_far = walk.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    best = [_newest(ask, place).over(so_far) for place, ask in enumerate(group.asks)]
    answered = both.select(_VIEW, _QUESTION, *(row.alias(f"__best{place}") for place, row in enumerate(best)))
    answered = answered.where(fn.col(_VIEW) == len(group.asks))
    made = [column for place, ask in enumerate(group.asks) for column in _taken(ask, place)]
    return answered.select(f"{_QUESTION}.*", *made)


def _keys(group: _Group) -> list[str]:
    return [f"__key{place}" for place in range(len(group.columns))]


def _as_questions(questions: DataFrame, group: _Group) -> DataFrame:
    pairs = list(zip(group.columns, group.types, _keys(group), strict=True))
    nobody = fn.lit(False)
    for column, _, _ in pairs:
        nobody = nobody | named(column).isNull()
    return questions.select(
        *(named(column).cast(kind).alias(key) for column, kind, key in pairs),
        fn.when(nobody, fn.pmod(fn.col(_KNOWN), fn.lit(_SPREADS)) + 1).otherwise(fn.lit(0)).alias(_SPREAD),
        fn.col(_KNOWN).alias(_AT),
        fn.lit(len(group.asks)).alias(_VIEW),
        fn.lit(None).cast(tp.LongType()).alias(EVENT_US),
        fn.lit(None).cast(tp.LongType()).alias(CREATED_US),
        fn.struct(*map(named, questions.columns)).alias(_QUESTION),
    )


def _as_rows(rows: DataFrame, ask: Ask, place: int, group: _Group) -> DataFrame:
    table_key = {column: key for key, column in ask.keys.items()}
    kept = ask.table.carried or (EVENT_US,)
    return rows.select(
        *(named(table_key[c]).alias(k) for c, k in zip(group.columns, _keys(group), strict=True)),
        fn.lit(0).cast(tp.LongType()).alias(_SPREAD),
        fn.col(VISIBLE_US).alias(_AT),
        fn.lit(place).alias(_VIEW),
        EVENT_US,
        CREATED_US,
        fn.struct(*map(named, kept)).alias(f"__row{place}"),
    )


def _is_tied(walk: WindowSpec) -> Column:
    """Tell whether a row's neighbour has the same times; rows of equal times lie side by side."""
    before, after = fn.lit(True), fn.lit(True)
    # One by one: a struct of the three would be made before the shuffle, and be shuffled.
    for name in (_VIEW, EVENT_US, CREATED_US):
        before = before & (fn.lag(name).over(walk) == fn.col(name))
        after = after & (fn.lead(name).over(walk) == fn.col(name))
    return fn.coalesce(before | after, fn.lit(False))


def _newest(ask: Ask, place: int) -> Column:
    """Return the newest row of one table: the greatest times and, of tied rows, the greatest payload."""
    inside = fn.col(f"__row{place}")
    tie = fn.when(fn.col("__tied"), _payload(ask.table, inside.getField))
    rank = fn.when(fn.col(_VIEW) == place, fn.struct(EVENT_US, CREATED_US, tie.alias("tie")))
    wanted = [inside.getField(name).alias(f"f{i}") for i, name in enumerate(ask.features)]
    return fn.max_by(fn.struct(EVENT_US, CREATED_US, *wanted), rank)


def _payload(table: SparkTable, column: Callable[[str], Column]) -> Column:
    if not table.features:
        return fn.lit(0)
    return payload_order(
        table.row_schema(),
        lambda name: column(table.opaque.get(name, name)),
        lambda name: table.stored[table.opaque.get(name, name)],
    )


def _taken(ask: Ask, place: int) -> list[Column]:
    best = fn.col(f"__best{place}")
    event = best.getField(EVENT_US)
    expired = fn.lit(False)
    if ask.ttl_us:
        asked = fn.col(f"{_QUESTION}.{_ASKED}")
        expired = fn.coalesce(event < asked - fn.lit(_ttl(ask)), fn.lit(False))
    values = [
        fn.when(~expired, best.getField(f"f{i}")).alias(name) for i, name in enumerate(ask.features.values())
    ]
    if ask.found:
        found = fn.struct(
            event.alias(EVENT_US), best.getField(CREATED_US).alias(CREATED_US), expired.alias("expired")
        )
        values.append(found.alias(ask.found))
    return values


def _ttl(ask: Ask) -> int:
    return min(ask.ttl_us, _LONGEST_TTL_US)
