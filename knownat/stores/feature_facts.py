"""What is measured of a view: how fresh it is, what its features hold, and what they cost.

Reading a table takes a moment; a listing does without.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl
import pyarrow as pa
from feast.feature_view import FeatureView
from feast.on_demand_feature_view import OnDemandFeatureView

from knownat.clock import from_us, to_us
from knownat.contract.read_plan import ReadPlan
from knownat.errors import KnownatError
from knownat.stores.distributions import Held, describe
from knownat.stores.feast_types import row_schema
from knownat.stores.materialization import watermarks
from knownat.stores.packed_online import PackedOnlineStore
from knownat.stores.packed_read import PackedReader
from knownat.stores.packed_reads import view_name
from knownat.stores.plan import plan_view
from knownat.stores.repo import Repo
from knownat.stores.row_keys import table_keys
from knownat.stores.services import take_features
from knownat.stores.sharing import find_view
from knownat.stores.sources import feature_table, view_keys
from knownat.stores.tables import FeatureTable, exact_microseconds, visible_us

SAMPLE_ROWS = 50_000
_ENTITIES, _RUNS = 200, 5


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a view costs online; None where it has no packed rows there to measure."""

    row_bytes: float | None = None
    """Mean bytes of an entity's row, times and checks included; the key is not counted."""
    read_us: float | None = None
    """CPU time of reading and decoding one entity's row, the best of five runs."""
    compute_us: float | None = None
    """CPU time of an on-demand view's body for one row, the best of five runs."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a view beside its definition."""

    rows: int = 0
    newest_event: datetime | None = None
    newest_known: datetime | None = None
    watermark: datetime | None = None
    """Up to when it has been materialized."""
    held: Mapping[str, Held] = field(default_factory=dict)
    """By feature: over all rows of the table, its distribution over the newest 50 000."""
    cost: Cost = field(default_factory=Cost)
    problem: str = ""
    """Why the rest could not be measured."""


def measure(repo: Repo, view: FeatureView, *, marks: Mapping[str, datetime]) -> Facts:
    """Measure one stored view; a table that cannot be read is said to be so."""
    try:
        return _measure(repo, view, marks.get(view.name))
    except KnownatError as error:
        return Facts(watermark=marks.get(view.name), problem=str(error))


def measure_on_demand(repo: Repo, view: OnDemandFeatureView) -> Facts:
    """Measure what an on-demand view costs, on the newest values of the views it reads.

    What only a question brings is made up: the newest event time where its name says that it is a time.
    """
    try:
        rows = _inputs_of(repo, view)
        body = getattr(view.feature_transformation, "udf", None)
        return Facts(cost=Cost(compute_us=_time_body(body, rows) if rows and body else None))
    except KnownatError as error:
        return Facts(problem=str(error))


def online_marks(repo: Repo) -> dict[str, datetime]:
    """Tell up to when each view is online; empty where there is no online store."""
    try:
        return watermarks(repo)
    except KnownatError:
        return {}


def _measure(repo: Repo, view: FeatureView, watermark: datetime | None) -> Facts:
    table = feature_table(view, repo.store.config)
    names = [feature.name for feature in view.features]
    created = table.created or table.event
    whole = table.rows.select(
        pl.len().alias("__rows"),
        pl.col(table.event).max().alias("__event"),
        pl.col(created).max().alias("__created"),
        *(pl.col(name).null_count() for name in names),
    ).collect()
    rows = int(whole["__rows"][0])
    columns = dict.fromkeys([*view_keys(view), table.event, created, *names])
    # Tables lie in the order in which their rows became visible, so the last are the newest.
    newest = table.rows.select(list(columns)).tail(SAMPLE_ROWS).collect()
    return Facts(
        rows=rows,
        newest_event=_moment(whole["__event"]),
        newest_known=_moment(whole["__created"]),
        watermark=watermark,
        held={name: describe(newest[name], rows=rows, nulls=int(whole[name][0])) for name in names},
        cost=_measure_cost(repo, view, table, watermark) if watermark else Cost(),
    )


def _measure_cost(repo: Repo, view: FeatureView, table: FeatureTable, watermark: datetime) -> Cost:
    store = repo.store.provider.online_store
    keys = view_keys(view)
    if not isinstance(store, PackedOnlineStore) or not keys:
        return Cost()
    # What is known of the future, such as a plan, is not online before its time.
    there = table.rows.filter(visible_us(table, created_cutoff=True) <= to_us(watermark))
    sample = there.select(keys).tail(SAMPLE_ROWS).collect().drop_nulls()
    sample = sample.unique(maintain_order=True).tail(_ENTITIES)
    rows = store.row_store(repo.store.config)
    schema = row_schema(view)
    asked = sample.to_arrow(compat_level=pl.CompatLevel.oldest())
    asked = asked.cast(pa.schema([_plain(each) for each in asked.schema]))
    found = rows.read(table_keys(view_name(repo.store.config, view), schema.keys, asked))
    sizes = [len(row) for row in found if row is not None]
    (used,) = take_features(repo.store, [view.name]).views
    plan = ReadPlan(
        project=repo.store.project, feature_service="", views=(plan_view(repo, used),), output_columns=()
    )
    reader = PackedReader(rows, plan)
    return Cost(
        row_bytes=sum(sizes) / len(sizes) if sizes else None,
        read_us=_time_reads(reader, asked.to_pylist()) if sizes else None,
    )


def _plain(kind: pa.Field) -> pa.Field:
    if pa.types.is_large_string(kind.type):
        return kind.with_type(pa.string())
    return kind.with_type(pa.int64()) if pa.types.is_integer(kind.type) else kind


def _time_reads(reader: PackedReader, entities: Sequence[Mapping[str, object]]) -> float:
    def run() -> float:
        started = time.process_time()
        for entity in entities:
            reader.read_one(entity, 2**62)
        return time.process_time() - started

    # Whatever else the machine does makes a run longer, never shorter.
    return min(run() for _ in range(_RUNS)) / len(entities) * 1e6


def _moment(column: pl.Series) -> datetime | None:
    if column.null_count():
        return None
    return from_us(int(exact_microseconds(column, where=column.name)[0]))


def _inputs_of(repo: Repo, view: OnDemandFeatureView) -> list[dict[str, list[object]]]:
    """Make single-row inputs for a body, under every name that Feast gives it."""
    columns: dict[str, list[object]] = {}
    now_us = 0
    for source in view.source_feature_view_projections.values():
        table = feature_table(find_view(repo, source.name), repo.store.config)
        names = [feature.name for feature in source.features]
        newest = table.rows.select([*names, pl.col(table.event).alias("__event")]).tail(_ENTITIES).collect()
        times = exact_microseconds(newest["__event"], where=source.name)
        now_us = max([now_us, *times.to_list()])
        for name in names:
            values = newest[name].to_list()
            columns |= {name: values, f"{source.name_alias or source.name}__{name}": values}
    for request in view.source_request_sources.values():
        columns |= {
            each.name: [_made_up(each.name, str(each.dtype), now_us)] * _ENTITIES for each in request.schema
        }
    count = min((len(values) for values in columns.values()), default=0)
    return [{name: [values[place]] for name, values in columns.items()} for place in range(count)]


def _made_up(name: str, dtype: str, now_us: int) -> object:
    if name.endswith("_us"):
        return now_us
    if name.endswith("_s"):
        return now_us // 1_000_000
    return {"Int32": 1, "Int64": 1, "Float32": 1.0, "Float64": 1.0, "Bool": True}.get(dtype, "")


def _time_body(
    body: Callable[[dict[str, list[object]]], object], rows: Sequence[dict[str, list[object]]]
) -> float | None:
    def run() -> float:
        started = time.process_time()
        for row in rows:
            body(row)
        return time.process_time() - started

    try:
        return min(run() for _ in range(_RUNS)) / len(rows) * 1e6
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        # Somebody else's code, on values that were made up.
        return None
