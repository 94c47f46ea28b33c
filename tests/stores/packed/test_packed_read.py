"""A plan read from both stores: one row, many rows, a matrix, on a thread and on a loop."""

import asyncio
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from zlib import crc32

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knownat.contract.read_plan import PlanFeature, PlanKey, PlanView, ReadPlan, ReadResult, Status
from knownat.errors import BadKey, CorruptRow, SchemaMismatch, UnknownSchema
from knownat.stores.codec import INTACT, RowSchema
from knownat.stores.packed_read import NO_TIME, STATUS, PackedReader
from knownat.stores.packed_views import ViewReader
from knownat.stores.packed_write import write_table
from knownat.stores.plan_questions import Subject, Subjects
from knownat.stores.row_keys import ViewName, entity_bytes, row_key
from knownat.stores.rows import RowStore
from tests.stores.packed.feature_rows import NOW_US

HOUR_US = 3_600_000_000
CUSTOMER = PlanKey(view_key="customer", request_key="buyer", dtype="int64")
CITY = PlanKey(view_key="city", request_key="town", dtype="string")


def planned(name: str, keys: Sequence[PlanKey], features: dict[str, str], ttl_us: int = HOUR_US) -> PlanView:
    fields = tuple(PlanFeature(name=feature, dtype=dtype) for feature, dtype in features.items())
    return PlanView(name=name, keys=tuple(keys), ttl_us=ttl_us, features=fields)


def plan_of(*views: PlanView) -> ReadPlan:
    columns = tuple(view.column(feature.name) for view in views for feature in view.features)
    return ReadPlan(project="shop", feature_service="test", views=views, output_columns=columns)


ORDERS = planned("orders", [CUSTOMER], {"total": "double", "number": "int64", "vip": "bool"})
VISITS = planned("visits", [CITY, CUSTOMER], {"page": "string", "seen": "timestamp[us, tz=UTC]"}, ttl_us=0)
RATES = planned("rates", [], {"rate": "float"}, ttl_us=0)
PLAN = plan_of(ORDERS, VISITS, RATES)


def put(store: RowStore, view: PlanView, rows: list[dict[str, object]], *, event_us: int = NOW_US) -> None:
    dtypes = {feature.name: feature.dtype for feature in view.features}
    schema = RowSchema.of(keys={key.view_key: key.dtype for key in view.keys}, features=dtypes)
    names = [*(key.view_key for key in view.keys), *dtypes]
    types = {"string": pa.string(), "double": pa.float64(), "float": pa.float32(), "bool": pa.bool_()}
    kinds = {**{key.view_key: key.dtype for key in view.keys}, **dtypes}
    at = pa.array([event_us] * len(rows), pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    columns = {
        name: pa.array(
            [row[name] for row in rows],
            types.get(kinds[name], pa.int64() if kinds[name] == "int64" else pa.timestamp("us", tz="UTC")),
        )
        for name in names
    }
    table = pa.table({**columns, "event_timestamp": at, "created_timestamp": at})
    write_table(store, ViewName("shop", view.name), schema, table, now_us=NOW_US)


@pytest.fixture
def filled(store: RowStore) -> RowStore:
    orders = [{"customer": i, "total": i / 2, "number": i, "vip": i % 2 == 0} for i in range(1, 40)]
    orders += [{"customer": 40, "total": None, "number": None, "vip": None}]
    put(store, ORDERS, orders)
    put(store, ORDERS, [{"customer": 50, "total": 1.0, "number": 1, "vip": True}], event_us=NOW_US - HOUR_US)
    put(
        store,
        ORDERS,
        [{"customer": 51, "total": 1.0, "number": 1, "vip": True}],
        event_us=NOW_US - HOUR_US - 1,
    )
    seen = datetime(2013, 9, 1, tzinfo=UTC)
    pages = [{"city": "Łódź", "customer": i, "page": "ü" * i, "seen": seen} for i in range(1, 40)]
    put(store, VISITS, pages, event_us=-7)
    put(store, RATES, [{"rate": 0.5}])
    return store


def test_one_row_has_values_times_and_statuses(filled: RowStore) -> None:
    reader = PackedReader(filled, PLAN)
    one = reader.read_one({"buyer": 3, "town": "Łódź"}, NOW_US)
    assert reader.columns == (
        "orders__total", "orders__number", "orders__vip", "visits__page", "visits__seen", "rates__rate",
    )  # fmt: skip
    assert one.values == [1.5, 3, False, "üüü", datetime(2013, 9, 1, tzinfo=UTC), 0.5]
    assert one.event_us == one.created_us == [NOW_US, -7, NOW_US]
    assert one.status == [Status.PRESENT] * 3


def test_an_unknown_entity_and_a_null_key_are_not_found(filled: RowStore) -> None:
    reader = PackedReader(filled, PLAN)
    for keys in ({"buyer": 999, "town": "Łódź"}, {"buyer": None, "town": "Łódź"}, {"buyer": 3, "town": None}):
        one = reader.read_one(keys, NOW_US)
        assert one.status[1:] == [Status.NOT_FOUND, Status.PRESENT]
        assert one.values[3:] == [None, None, 0.5]
        assert one.event_us[1] is None
    assert one.status[0] == Status.PRESENT


def test_a_ttl_ends_a_row_as_it_does_offline(filled: RowStore) -> None:
    reader = PackedReader(filled, PLAN)
    last = reader.read_one({"buyer": 50, "town": ""}, NOW_US)
    over = reader.read_one({"buyer": 51, "town": ""}, NOW_US)
    assert (last.status[0], last.values[:3]) == (Status.PRESENT, [1.0, 1, True])
    assert (over.status[0], over.values[:3]) == (Status.EXPIRED, [None] * 3)
    assert over.event_us[0] == NOW_US - HOUR_US - 1


# Batches of few entities share rows, batches of many do not.
BUYERS = st.lists(st.none() | st.integers(0, 60), min_size=1, max_size=30) | st.lists(
    st.sampled_from([None, 1, 2, 40, 50, 51, 99]), min_size=9, max_size=60
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(buyers=BUYERS, data=st.data())
def test_every_way_to_read_gives_the_same(
    filled: RowStore, buyers: list[int | None], data: st.DataObject
) -> None:
    towns = data.draw(
        st.lists(st.sampled_from([None, "Łódź", "Oslo"]), min_size=len(buyers), max_size=len(buyers))
    )
    reader = PackedReader(filled, plan_of(ORDERS, VISITS.model_copy(update={"features": ()}), RATES))
    whole = PackedReader(filled, PLAN)
    keys = {"buyer": buyers, "town": towns}
    result = whole.read(keys, NOW_US)
    matrix = reader.read_matrix(keys, NOW_US)

    for i, (buyer, town) in enumerate(zip(buyers, towns, strict=True)):
        one = whole.read_one({"buyer": buyer, "town": town}, NOW_US)
        assert one.values == [result.values[column][i] for column in whole.columns]
        assert one.status == [result.status[view][i] for view in whole.views]
        assert one.event_us == [result.event_us[view][i] for view in whole.views]
        assert one.created_us == [result.created_us[view][i] for view in whole.views]
        assert [STATUS[code] for code in matrix.status[:, i]] == one.status
        assert [None if us == NO_TIME else us for us in matrix.event_us[:, i].tolist()] == one.event_us
        assert [None if us == NO_TIME else us for us in matrix.created_us[:, i].tolist()] == one.created_us
        numbers = [one.values[j] for j in (0, 1, 2, 5)]
        found = [None if math.isnan(value) else value for value in matrix.values[i].tolist()]
        assert found == numbers


def test_a_loop_reads_what_a_thread_reads(filled: RowStore) -> None:
    reader = PackedReader(filled, PLAN)
    keys = {"buyer": list(range(45)), "town": ["Łódź"] * 45}
    numbers = PackedReader(filled, plan_of(ORDERS, RATES))

    async def read() -> tuple[object, ReadResult, object]:
        one = await reader.read_one_async({"buyer": 3, "town": "Łódź"}, NOW_US)
        many = await reader.read_async(keys, NOW_US)
        matrix = await numbers.read_matrix_async(keys, NOW_US)
        close = getattr(filled, "close_async", None)
        if close is not None:
            await close()
        return one, many, matrix.values.tobytes()

    assert asyncio.run(read()) == (
        reader.read_one({"buyer": 3, "town": "Łódź"}, NOW_US),
        reader.read(keys, NOW_US),
        numbers.read_matrix(keys, NOW_US).values.tobytes(),
    )


def test_text_becomes_its_category_in_a_matrix(filled: RowStore) -> None:
    plan = plan_of(planned("visits", [CITY, CUSTOMER], {"page": "string"}))
    keys = {"buyer": [1, 2, 3], "town": ["Łódź"] * 3}
    reader = PackedReader(filled, plan.model_copy(), categories={"visits__page": ["?", "üü", "ü"]})
    plain = PackedReader(filled, plan)
    assert reader.read_matrix(keys, 0).values[:2].tolist() == [[2.0], [1.0]]
    assert math.isnan(reader.read_matrix(keys, 0).values[2, 0])
    with pytest.raises(SchemaMismatch, match="'page' is string"):
        plain.read_matrix(keys, 0)


def test_old_and_new_plans_read_old_and_new_rows(filled: RowStore) -> None:
    newer = planned(
        "orders", [CUSTOMER], {"total": "double", "number": "int64", "vip": "bool", "new": "int64"}
    )
    put(filled, newer, [{"customer": 2, "total": 9.0, "number": 2, "vip": True, "new": 7}])
    old, new = PackedReader(filled, plan_of(ORDERS)), PackedReader(filled, plan_of(newer))
    assert old.read_one({"buyer": 2}, NOW_US).values == [9.0, 2, True]
    assert new.read_one({"buyer": 2}, NOW_US).values == [9.0, 2, True, 7]
    assert new.read_one({"buyer": 3}, NOW_US).values == [1.5, 3, False, None]
    many = {"buyer": [2, 3, 2]}
    assert new.read(many, NOW_US).values["orders__new"] == [7, None, 7]
    assert old.read(many, NOW_US).values["orders__total"] == [9.0, 1.5, 9.0]
    assert new.read_matrix(many, NOW_US).values[::2, 3].tolist() == [7.0, 7.0]


def test_a_view_keyed_by_other_entities_is_refused(filled: RowStore) -> None:
    seller = PlanKey(view_key="seller", request_key="buyer", dtype="int64")
    with pytest.raises(SchemaMismatch, match=r"keyed by \{'customer': 'int64'\}"):
        PackedReader(filled, plan_of(planned("orders", [seller], {"total": "double"}))).read_one(
            {"buyer": 3}, NOW_US
        )


@pytest.mark.parametrize("bad", [1.5, True, "3", 2**63, [1], {}])
def test_a_key_of_another_type_is_refused(filled: RowStore, bad: object) -> None:
    reader = PackedReader(filled, plan_of(ORDERS))
    with pytest.raises(BadKey):
        reader.read_one({"buyer": bad}, NOW_US)
    with pytest.raises(BadKey):
        reader.read({"buyer": [3, bad]}, NOW_US)
    with pytest.raises(BadKey):
        reader.read_matrix({"buyer": [bad]}, NOW_US)
    # Where rows share entities, 1 and True must not become one.
    with pytest.raises(BadKey):
        reader.read({"buyer": [1] * 30 + [bad]}, NOW_US)
    with pytest.raises(BadKey):
        reader.read_matrix({"buyer": [bad] * 30}, NOW_US)


def test_missing_keys_and_columns_of_unequal_length_are_refused(filled: RowStore) -> None:
    reader = PackedReader(filled, PLAN)
    with pytest.raises(BadKey, match="'town' is missing"):
        reader.read_one({"buyer": 3}, NOW_US)
    with pytest.raises(BadKey, match="'town' is missing"):
        reader.read({"buyer": [3]}, NOW_US)
    with pytest.raises(BadKey, match="same number of rows"):
        reader.read({"buyer": [3, 4], "town": ["Oslo"]}, NOW_US)


def orders_key(customer: int) -> bytes:
    return row_key(ViewName("shop", "orders").prefix, entity_bytes(["int64"], [customer]))


class Tampered:
    """A store whose answers were changed on their way."""

    waits = False

    def __init__(self, store: RowStore, rows: dict[bytes, bytes]) -> None:
        self._store, self._rows = store, rows
        self.schemas, self.watermark = store.schemas, store.watermark

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self._rows.get(key, row) for key, row in zip(keys, self._store.read(keys), strict=True)]

    async def read_async(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self.read(keys)


def test_another_entitys_row_or_garbage_is_never_served(filled: RowStore) -> None:
    (other,) = filled.read([orders_key(4)])
    assert other is not None
    for wrong in (other, other[:-1], b"garbage", b"\x01", bytes(200)):
        reader = PackedReader(Tampered(filled, {orders_key(3): wrong}), plan_of(ORDERS))
        with pytest.raises(CorruptRow, match="orders: 1 stored row"):
            reader.read_one({"buyer": 3}, NOW_US)
        with pytest.raises(CorruptRow, match="orders: 1 stored row"):
            reader.read_matrix({"buyer": [2, 3, 4]}, NOW_US)
        assert reader.read_one({"buyer": 4}, NOW_US).values[0] == 2.0


def test_a_row_of_an_unknown_schema_fails_by_name(filled: RowStore) -> None:
    class Forgetful(Tampered):
        def __init__(self, store: RowStore) -> None:
            super().__init__(store, {})
            self.schemas = lambda _view: {}

    reader = PackedReader(Forgetful(filled), plan_of(ORDERS))
    with pytest.raises(UnknownSchema, match="shop/orders: a row names schema 0003"):
        reader.read_one({"buyer": 3}, NOW_US)
    with pytest.raises(UnknownSchema, match="shop/orders"):
        reader.read({"buyer": [3]}, NOW_US)


def test_an_emptied_row_is_refused_where_many_are_read(filled: RowStore) -> None:
    reader = PackedReader(Tampered(filled, {orders_key(3): b""}), plan_of(ORDERS))
    with pytest.raises(CorruptRow, match="orders: 1 stored row"):
        reader.read_matrix({"buyer": [2, 3, 999]}, NOW_US)
    with pytest.raises(CorruptRow, match="orders: 1 stored row"):
        reader.read({"buyer": [2, 3, 999]}, NOW_US)


def test_the_view_of_a_damaged_row_is_named_among_several(filled: RowStore) -> None:
    rates = ViewName("shop", "rates").prefix
    reader = PackedReader(Tampered(filled, {rates: b"garbage"}), PLAN)
    with pytest.raises(CorruptRow, match="shop/rates: 1 stored row"):
        reader.read({"buyer": [2, 3], "town": ["Oslo", "Oslo"]}, NOW_US)


def rewritten(key: bytes, row: bytes, *, version: int = 1, size: int = 0) -> bytes:
    """Give a row another format or length, and the check that a writer of it would have."""
    body = bytes([version]) + (row[1:-4][:size] if size < 0 else row[1:-4] + bytes(size))
    return body + crc32(body, crc32(key, INTACT)).to_bytes(4, "little")


# In the last, what one row is too long another is too short.
@pytest.mark.parametrize("sizes", [{3: -1}, {3: 1}, {4: 1}, {2: 1, 3: -1}, {2: -1, 4: 1}])
def test_an_intact_row_of_another_length_than_its_schema_is_refused(
    filled: RowStore, sizes: dict[int, int]
) -> None:
    rows = {key: row for i in sizes for key in [orders_key(i)] for row in filled.read([key]) if row}
    wrong = {orders_key(i): rewritten(orders_key(i), rows[orders_key(i)], size=n) for i, n in sizes.items()}
    reader = PackedReader(Tampered(filled, wrong), plan_of(ORDERS))
    for read in (reader.read_matrix, reader.read):
        with pytest.raises(CorruptRow, match=f"orders: {len(sizes)} stored row"):
            read({"buyer": [2, 3, 4]}, NOW_US)


def test_a_row_of_a_later_format_is_refused_by_name_among_others(filled: RowStore) -> None:
    (row,) = filled.read([orders_key(3)])
    assert row is not None
    later = {orders_key(3): rewritten(orders_key(3), row, version=2)}
    reader = PackedReader(Tampered(filled, later), plan_of(ORDERS))
    with pytest.raises(UnknownSchema, match="shop/orders: a row has format version 2; upgrade knownat"):
        reader.read_one({"buyer": 3}, NOW_US)
    for read in (reader.read_matrix, reader.read):
        with pytest.raises(UnknownSchema, match="shop/orders: a row has format version 2; upgrade knownat"):
            read({"buyer": [2, 3, 4]}, NOW_US)
    store, name = Tampered(filled, later), ViewName("shop", "orders")
    feasts = ViewReader(store, name, next(iter(filled.schemas(name).values())), ["total"])
    keys = [orders_key(i) for i in (2, 3, 4)]
    with pytest.raises(UnknownSchema, match="shop/orders: a row has format version 2; upgrade knownat"):
        feasts.answer(keys, store.read(keys), oldest_us=0, latest_us=NOW_US)


def test_rows_of_two_schemas_are_each_read_by_their_own_in_a_large_batch(filled: RowStore) -> None:
    newer = planned(
        "orders", [CUSTOMER], {"total": "double", "number": "int64", "vip": "bool", "new": "int64"}
    )
    put(filled, newer, [{"customer": i, "total": 9.0, "number": i, "vip": None, "new": i} for i in (3, 5)])
    reader = PackedReader(filled, plan_of(newer))
    matrix = reader.read_matrix({"buyer": [1, 3, 3, 5, 999, None, 40] * 5}, NOW_US).values
    nan = math.nan
    wanted = [
        [0.5, 1, 0, nan], [9, 3, nan, 3], [9, 3, nan, 3], [9, 5, nan, 5],
        [nan] * 4, [nan] * 4, [nan] * 4,
    ]  # fmt: skip
    np.testing.assert_array_equal(matrix, np.array(wanted * 5))


# One subject has a key for each row, another few; codes fit a table or do not; keys are of one length or not.
@pytest.mark.parametrize("towns", [["Oslo"], ["Oslo", "Łódź"], [f"{'x' * (i % 3)}{i}" for i in range(300)]])
@pytest.mark.parametrize("buyers", [range(3), range(200), range(1_000)])
@pytest.mark.parametrize("null", [False, True])
def test_a_question_names_the_keys_that_each_row_would_alone(
    towns: list[str], buyers: range, null: bool
) -> None:
    subjects = [
        Subject(("buyer",), ("int64",)),
        Subject(("town",), ("string",)),
        Subject(("town", "buyer"), ("string", "int64")),
        Subject((), ()),
    ]
    keys = {"buyer": [buyers[i * 7 % len(buyers)] for i in range(400)], "town": (towns * 400)[:400]}
    if null:
        keys["town"][7] = keys["buyer"][9] = None
    for subject, asked in zip(subjects, Subjects(subjects).ask(keys, 400), strict=True):
        encoded = asked.entities.row_keys(b"v")
        assert len(encoded) == asked.count
        wants = range(400) if asked.wants is None else asked.wants.tolist()
        found = [None if want == -1 else encoded[want] for want in wants]
        alone = [subject.entity({name: column[i] for name, column in keys.items()}) for i in range(400)]
        assert found == [None if entity is None else b"v" + entity for entity in alone]


def test_a_row_of_another_schema_is_told_apart_where_it_is_as_long(filled: RowStore) -> None:
    other = planned("orders", [CUSTOMER], {"total": "double", "number": "int64", "kin": "bool"})
    put(filled, other, [{"customer": 3, "total": 9.0, "number": 3, "kin": True}], event_us=NOW_US + 1)
    matrix = PackedReader(filled, plan_of(ORDERS)).read_matrix({"buyer": [2, 3, 4]}, NOW_US).values
    np.testing.assert_array_equal(matrix, np.array([[1, 2, 1], [9, 3, math.nan], [2, 4, 1]]))
