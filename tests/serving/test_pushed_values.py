"""Every type of a pushed value: what is taken, exactly as what, and what is refused."""

import pytest

from knownat.clock import to_us
from knownat.contract.push_plan import PushField, PushSource, PushView
from knownat.stores.codec import RowSchema
from knownat.stores.codec_read import RowDecoder
from knownat.stores.lmdb_rows import open_lmdb
from knownat.stores.packed_write import write_table
from knownat.stores.row_keys import ViewName, table_keys
from serving.errors import BadRequest
from serving.pushed_rows import read_pushed
from serving.pushed_values import take_key, take_value

NOW_US = 1_704_067_200_000_000
SECONDS = 1_000_000
TAKEN = [
    ("int64", 2**63 - 1, 2**63 - 1),
    ("int64", -(2**53) - 1, -(2**53) - 1),
    ("int32", -(2**31), -(2**31)),
    ("float64", 3, 3.0),
    ("float64", 0.1, 0.1),
    ("float32", 0.1, 0.1),
    ("bool", False, False),
    ("string", "Süd", "Süd"),
    ("string", "", ""),
    ("bytes", "AAEC/w==", b"\x00\x01\x02\xff"),
    ("timestamp", "1970-01-01T00:00:00.000001Z", 1),
    ("timestamp", "1969-12-31T23:59:59.999999+00:00", -1),
    ("timestamp", "1970-01-01T02:00:01+02:00", SECONDS),
    ("list<int64>", [2**53 + 1, 0], [2**53 + 1, 0]),
    ("list<string>", [], []),
    ("list<timestamp>", ["1970-01-01T00:00:01Z"], [SECONDS]),
]
REFUSED = [
    ("int64", 3.7, "must be an integer of 64 bits"),
    ("int64", 3.0, "must be an integer of 64 bits"),
    ("int64", True, "must be an integer of 64 bits"),
    ("int64", 10**30, "must be an integer of 64 bits"),
    ("int32", 2**31, "must be an integer of 32 bits"),
    ("float64", 2**53 + 1, "must be a finite number"),
    ("float64", float("inf"), "must be a finite number"),
    ("float64", True, "must be a finite number"),
    ("float32", 3.5e38, "must be a number that 32 bits hold"),
    ("bool", 1, "must be true or false"),
    ("string", 1, "must be text of at most 65536 characters without NUL"),
    ("string", "a\0b", "must be text of at most 65536 characters without NUL"),
    ("bytes", "AAEC/w=", "must be bytes in base64"),
    ("bytes", [0], "must be bytes in base64"),
    ("timestamp", "2024-01-01", "must be a time with its zone, such as 2013-10-15T12:00:00.000001Z"),
    ("timestamp", "2024-01-01T00:00:60Z", "must be a time that exists"),
    ("timestamp", "0001-01-01T00:00:00+23:59", "must be a time that exists"),
    ("list<int64>", 1, "must be a list"),
    ("list<int64>", [1, 2.5], "item 1 must be an integer of 64 bits"),
    ("list<float64>", [None], "item 0 may not be null"),
]


@pytest.mark.parametrize(("dtype", "value", "wanted"), TAKEN)
def test_what_a_view_declares_is_taken_exactly(dtype, value, wanted):
    taken, problem = take_value(dtype, value)

    assert problem is None
    assert (type(taken), taken) == (type(wanted), wanted)


@pytest.mark.parametrize(("dtype", "value", "problem"), REFUSED)
def test_what_it_does_not_is_refused(dtype, value, problem):
    assert take_value(dtype, value)[1] == problem


@pytest.mark.parametrize("value", ["", "é" * 513, "a\0"])
def test_a_key_that_could_not_be_asked_for_cannot_be_pushed(value):
    assert take_key("string", value)[1] is not None


VIEW = PushView(
    name="all",
    keys=(PushField(name="place", dtype="string"),),
    features=tuple(
        PushField(name=f"v{i}", dtype=dtype) for i, dtype in enumerate(sorted({d for d, _, _ in TAKEN}))
    ),
    event="happened",
    created=None,
)
VALUES = {dtype: (value, wanted) for dtype, value, wanted in TAKEN}


def test_a_row_of_every_type_is_read_back_as_it_was_pushed(tmp_path):
    row = {f.name: VALUES[f.dtype][0] for f in VIEW.features}
    nulls = dict.fromkeys(row)
    rows = [
        {"place": "Süd", "happened": "2023-12-31T00:00:00.000001Z", **row},
        {"place": "n", "happened": "2023-12-31T00:00:00Z", **nulls},
    ]
    (pushed,) = read_pushed({"rows": rows}, PushSource(views=(VIEW,)), NOW_US)
    schema = RowSchema.of(keys={"place": "string"}, features={f.name: f.dtype for f in VIEW.features})
    store, name = open_lmdb(tmp_path), ViewName("shop", "all")

    done = write_table(store, name, schema, pushed.table(), now_us=NOW_US, event="happened", created=None)

    found = store.read(table_keys(name, schema.keys, pushed.table()))
    decoder = RowDecoder(schema, schema.features)
    wanted = {f.name: VALUES[f.dtype][1] for f in VIEW.features}
    read = [dict(zip([f.name for f in schema.features], decoder.values(r), strict=True)) for r in found]
    store.close()
    assert done.stored == 2
    assert read[1] == nulls
    for field in VIEW.features:
        if field.dtype == "float32":
            assert read[0][field.name] == pytest.approx(0.1, abs=1e-8)
        elif field.dtype == "timestamp":
            assert to_us(read[0][field.name]) == wanted[field.name]
        elif field.dtype == "list<timestamp>":
            assert list(map(to_us, read[0][field.name])) == wanted[field.name]
        else:
            assert read[0][field.name] == wanted[field.name], field


def test_a_type_that_only_feast_packs_is_refused_by_name():
    view = VIEW.model_copy(update={"features": (PushField(name="extra", dtype="opaque:JSON"),)})
    row = {"place": "n", "happened": "2023-12-31T00:00:00Z", "extra": "{}"}

    with pytest.raises(BadRequest, match="extra: is of a type that only Feast's own push can pack"):
        read_pushed({"rows": [row]}, PushSource(views=(view,)), NOW_US)


def test_a_pushed_row_without_a_name_of_its_entity_is_refused():
    view = VIEW.model_copy(update={"features": (PushField(name="v", dtype="string"),)})
    row = {"place": "", "happened": "2023-12-31T00:00:00Z", "v": ""}

    with pytest.raises(BadRequest, match="place: must be 1 to"):
        read_pushed({"rows": [row]}, PushSource(views=(view,)), NOW_US)


def test_a_source_of_two_views_needs_the_columns_of_both():
    other = PushView(
        name="other",
        keys=VIEW.keys,
        features=(PushField(name="w", dtype="int64"),),
        event="happened",
        created="known",
    )
    one = VIEW.model_copy(update={"features": (PushField(name="v", dtype="bool"),)})
    source = PushSource(views=(one, other))
    row = {
        "place": "n",
        "happened": "2023-12-31T00:00:00Z",
        "known": "2023-12-31T01:00:00Z",
        "v": True,
        "w": 1,
    }

    pushed = read_pushed({"rows": [row]}, source, NOW_US)

    assert [sorted(p.values) for p in pushed] == [
        ["happened", "place", "v"],
        ["happened", "known", "place", "w"],
    ]
    for name in row:
        with pytest.raises(BadRequest, match="lacks the columns"):
            read_pushed({"rows": [{n: v for n, v in row.items() if n != name}]}, source, NOW_US)
