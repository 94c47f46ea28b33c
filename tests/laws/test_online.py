"""One truth: an online read at T is the newest row visible by the last write, its ttl measured at T.

Generated histories are written in steps, as materialization does, in batches of any size, and read
back from both stores, beside a reference that shares no code with any of it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knownat.contract.read_plan import PlanFeature, PlanKey, PlanView, ReadPlan, Status
from knownat.stores.codec import RowSchema
from knownat.stores.lmdb_rows import open_lmdb
from knownat.stores.newest_rows import newest_rows
from knownat.stores.packed_read import PackedReader
from knownat.stores.packed_write import write_table
from knownat.stores.redis_rows import RedisRows
from knownat.stores.row_keys import ViewName
from knownat.stores.rows import RowStore
from knownat.stores.tables import CREATED_US, EVENT_US
from tests.laws.oracle import Row, as_of, payload
from tests.laws.test_asof import HISTORIES, INSTANTS, PACKED_TYPES, TTLS, table_of
from tests.soak import scale
from tests.stores.packed.redis_server import RedisServer

VIEW = ViewName("laws", "generated")
SCHEMA = RowSchema.of(keys={"entity": "int64"}, features=PACKED_TYPES)
KEYS: list[int | None] = [1, 2, 3, 4, None, 1]
MOMENT = pa.timestamp("us", tz="UTC")


@pytest.fixture(scope="module", params=["lmdb", "redis"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RowStore]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    if request.param == "lmdb":
        rows = open_lmdb(folder / "rows")
        yield rows
        rows.close()
        return
    with RedisServer(folder) as server:
        rows = RedisRows(server.url, socket_seconds=10, read_deadline_seconds=10)
        yield rows
        rows.close()


def write_step(
    store: RowStore, history: list[Row], since: int | None, until: int, *, batch_values: int
) -> None:
    found = newest_rows(table_of(history), since_us=since, until_us=until, batch_values=batch_values)
    for batch in found.batches:
        rows = batch.to_arrow(compat_level=pl.CompatLevel.oldest())
        times = {name: rows[name].cast(MOMENT) for name in (EVENT_US, CREATED_US)}
        columns = {name: rows[name] for name in ("entity", *PACKED_TYPES)}
        write_table(
            store, VIEW, SCHEMA, pa.table(columns | times), now_us=until, event=EVENT_US, created=CREATED_US
        )
    store.set_watermark(VIEW, until)


def reader_of(store: RowStore, ttl: int) -> PackedReader:
    view = PlanView(
        name=VIEW.view,
        keys=(PlanKey(view_key="entity", request_key="entity", dtype="int64"),),
        ttl_us=ttl,
        features=tuple(PlanFeature(name=name, dtype=dtype) for name, dtype in PACKED_TYPES.items()),
    )
    columns = tuple(view.column(name) for name in PACKED_TYPES)
    plan = ReadPlan(project=VIEW.project, feature_service="laws", views=(view,), output_columns=columns)
    return PackedReader(store, plan)


@settings(max_examples=scale(60, 2_000), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    HISTORIES,
    st.lists(INSTANTS, min_size=1, max_size=4),
    st.integers(0, 15),
    TTLS,
    st.sampled_from([7, 40, 10**6]),
    st.booleans(),
)
def test_an_online_read_is_the_newest_row_visible_by_the_last_write(
    store: RowStore, history: list[Row], steps: list[int], later: int, ttl: int, values: int, again: bool
) -> None:
    store.delete_view(VIEW)
    since: int | None = None
    for until in sorted(steps):
        for _ in range(1 + again):  # A step that was killed before its watermark is done once more.
            write_step(store, history, since, until, batch_values=values)
        since = until
    written, now = max(steps), max(steps) + later
    reader = reader_of(store, ttl)

    many = reader.read({"entity": KEYS}, now)
    for place, key in enumerate(KEYS):
        row, expired = as_of(history, key, types=PACKED_TYPES, asked=now, known=written, ttl=ttl)
        one = reader.read_one({"entity": key}, now)
        found = dict(zip(PACKED_TYPES, one.values, strict=True))
        together = [many.values[f"{VIEW.view}__{name}"][place] for name in PACKED_TYPES]
        assert repr(together) == repr(one.values)
        check(row, expired, found, one.status[0], (one.event_us[0], one.created_us[0]))
        times = many.event_us[VIEW.view][place], many.created_us[VIEW.view][place]
        assert (many.status[VIEW.view][place], times) == (one.status[0], (one.event_us[0], one.created_us[0]))
    assert store.watermark(VIEW) == written


def check(row: Row | None, expired: bool, found: dict[str, Any], status: Status, times: Any) -> None:
    if row is None:
        assert (status, times) == (Status.NOT_FOUND, (None, None))
    else:
        assert status is (Status.EXPIRED if expired else Status.PRESENT)
        assert times == (row.event, row.created)
    wanted = dict.fromkeys(PACKED_TYPES) if row is None or expired else row.values
    assert payload(found, PACKED_TYPES) == payload(wanted, PACKED_TYPES)
