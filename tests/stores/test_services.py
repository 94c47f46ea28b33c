"""Values fit their declared types exactly, offline and on their way online."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from feast import Entity, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, FeastType, Float32, Float64, Int32, Int64, UnixTimestamp

from knownat.errors import RepoError
from knownat.stores.examples import FrameExamples
from knownat.stores.online_rows import from_value, to_online_rows
from knownat.stores.repo import Repo
from knownat.stores.retrieval import AsOfRetrievalJob, Wanted
from knownat.stores.services import as_declared, request_sources, stored_sources
from knownat.stores.tables import CREATED_US, EVENT_US
from tests.stores import shop


@pytest.mark.parametrize(
    ("values", "kind", "fitted"),
    [
        (pa.array([1, None], pa.int32()), pa.int64(), [1, None]),
        (pa.array([1.0, float("nan"), None]), pa.int64(), [1, None, None]),
        (pa.array([2**53, None]), pa.float64(), [2.0**53, None]),
        (pa.nulls(2), pa.string(), [None, None]),
    ],
)
def test_values_that_fit_are_cast_exactly(
    values: pa.Array, kind: pa.DataType, fitted: Sequence[object]
) -> None:
    assert as_declared(pa.chunked_array([values]), kind, "v__f").to_pylist() == fitted


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pa.array([1.5]), pa.int64()),
        (pa.array([2**53 + 1]), pa.float64()),
        (pa.array([2**40]), pa.int32()),
        (pa.array(["x"]), pa.float64()),
    ],
)
def test_values_that_do_not_fit_are_refused_by_the_features_name(values: pa.Array, kind: pa.DataType) -> None:
    with pytest.raises(RepoError, match=f"Feature 'v__f' is declared as {kind}, but its values are"):
        as_declared(pa.chunked_array([values]), kind, "v__f")


def view_of(dtype: FeastType, key: ValueType = ValueType.INT64, name: str = "orders") -> FeatureView:
    customer = Entity(name="customer", join_keys=["customer_id"], value_type=key)
    source = FileSource(path="data/orders.parquet", timestamp_field="event_timestamp")
    fields = [Field(name="customer_id", dtype=Int64), Field(name="feature", dtype=dtype)]
    view = FeatureView(name=name, entities=[customer], schema=fields, source=source)
    view.features = [fields[1]]
    return view


def rows_of(values: pl.Series) -> pl.DataFrame:
    times = pl.Series([7] * len(values), dtype=pl.Int64)
    return pl.DataFrame(
        {"customer_id": range(len(values)), "feature": values, EVENT_US: times, CREATED_US: times}
    )


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (Int64, pl.Series([2**53 + 1, -(2**63), None])),
        (Int32, pl.Series([2**31 - 1, None], dtype=pl.Int64)),
        (Float64, pl.Series([0.1, None])),
        (Float32, pl.Series([0.5, None])),
        (Array(Int64), pl.Series([[1, 2], [2**53 + 1]])),
    ],
)
def test_values_come_back_from_their_online_form_as_they_went(dtype: FeastType, values: pl.Series) -> None:
    rows = to_online_rows(view_of(dtype), rows_of(values))
    assert [from_value(row[1]["feature"]) for row in rows] == values.to_list()


def test_a_type_that_loses_fractions_online_is_refused() -> None:
    times = pl.Series([1_500_000]).cast(pl.Datetime("us", "UTC"))
    with pytest.raises(RepoError, match=r"'orders__feature' is a UnixTimestamp.*Store microseconds as Int64"):
        to_online_rows(view_of(UnixTimestamp), rows_of(times))


def test_an_on_demand_body_sees_only_the_inputs_it_declares(repo: Repo, tmp_path: Path) -> None:
    inputs = RequestSource(name="inputs", schema=[Field(name="x", dtype=Int64)])

    @on_demand_feature_view(sources=[inputs], schema=[Field(name="y", dtype=Int64)], mode="python")
    def peeking(inputs):
        return {"y": inputs.get("undeclared", inputs["x"])}

    asked = pd.DataFrame({"x": [1], "undeclared": [2], "event_timestamp": [shop.at(0)]})
    job = AsOfRetrievalJob(
        FrameExamples(asked, ["x", "undeclared"]),
        lambda _: pa.table({"x": [1]}).select([]),
        Wanted(feature_refs=["peeking:y"], on_demand=[peeking], full_feature_names=True),
        repo.store.config,
    )
    assert job.to_arrow().drop(["event_timestamp"]).to_pydict() == {
        "x": [1],
        "undeclared": [2],
        "peeking__y": [1],
    }
    assert job.to_df()["peeking__y"].tolist() == [1]


def test_sources_of_an_on_demand_view_come_by_name_however_feast_lays_them_out() -> None:
    stored = [view_of(Int64, name=name) for name in ("waits", "orders", "visits")]
    asked = [RequestSource(name=name, schema=[Field(name=f"{name}_at", dtype=Int64)]) for name in "zax"]

    @on_demand_feature_view(sources=[*stored, *asked], schema=[Field(name="y", dtype=Int64)], mode="python")
    def doubled(inputs):
        return {"y": inputs["z_at"]}

    for _ in range(2):
        assert [source.name for source in stored_sources(doubled)] == ["orders", "visits", "waits"]
        assert [source.name for source in request_sources(doubled)] == ["a", "x", "z"]
        for kept in (doubled.source_feature_view_projections, doubled.source_request_sources):
            for name in list(reversed(kept)):
                kept[name] = kept.pop(name)
