"""What a retrieval on Spark hands back: rows for the driver, or Parquet written by the executors."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
from feast.errors import RequestDataNotFoundInEntityDfException, SavedDatasetLocationAlreadyExists
from feast.feature_view_projection import FeatureViewProjection
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SavedDatasetSparkStorage
from feast.infra.offline_stores.offline_store import RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.protos.feast.core.FeatureViewProjection_pb2 import FeatureViewProjection as ProjectionProto
from feast.protos.feast.core.OnDemandFeatureView_pb2 import OnDemandFeatureView as OnDemandFeatureViewProto
from feast.saved_dataset import SavedDatasetStorage
from pyspark.sql import DataFrame
from pyspark.sql import types as tp
from pyspark.sql.pandas.types import to_arrow_schema
from typing_extensions import override

from knownat.clock import from_us
from knownat.errors import RowsNotConserved
from knownat.stores.deadline import Stop, within
from knownat.stores.examples import Examples, FrameExamples, Questions
from knownat.stores.locations import Location, locate
from knownat.stores.parquet_writes import exists
from knownat.stores.retrieval import AsOfRetrievalJob, Wanted, compute_on_demand
from knownat.stores.services import as_declared
from knownat.stores.spark_historical import PLACE, ClusterExamples, SparkJoin, span_of, uploaded
from knownat.stores.spark_runs import collected, running
from knownat.stores.spark_sources import spark_type
from knownat.stores.spark_tables import named
from knownat.stores.spark_writes import write_folder

Batches = Iterable[pa.RecordBatch]


class SparkRetrievalJob(AsOfRetrievalJob):
    """Examples with their features: to the driver if asked for, or to Parquet without passing it."""

    def __init__(self, plan: "RetrievalPlan", wanted: Wanted, join: SparkJoin) -> None:
        super().__init__(plan.examples, plan.find, wanted, join.config)
        self._plan = plan
        self._join = join

    def to_spark_df(self) -> DataFrame:
        """Return the examples with all their features, on-demand ones included, as a plan of Spark's.

        Its rows have no order; nothing runs until somebody asks for them.
        """
        return self._everything(Stop()).drop(PLACE)

    def to_parquet(self, path: str | Path, *, overwrite: bool = False, timeout: int | None = None) -> None:
        """Let the executors write the rows, in order, to a folder of Parquet files.

        Parameters
        ----------
        path
            A folder that every executor has at the same place, or a URL that Spark can write to.

        Raises
        ------
        SavedDatasetLocationAlreadyExists
            If something is there and may not be overwritten.
        RetrievalTimeout
            If it is not done within ``timeout`` seconds.
        """
        remote = "://" in str(path)
        address = str(path) if remote else str(Path(path).absolute())
        location = Location(source="result", address=address, remote=remote, csv=False)
        self._write(location, overwrite, timeout)

    @override
    def persist(
        self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None
    ) -> None:
        """Let the executors write the rows: to the files a saved dataset names, or to a table of Spark's.

        Raises the same as :meth:`to_parquet`.
        """
        if not isinstance(storage, SavedDatasetSparkStorage):
            self._write(locate(storage.to_data_source(), self._config), allow_overwrite, timeout)
        elif storage.spark_options.path:
            self.to_parquet(storage.spark_options.path, overwrite=allow_overwrite, timeout=timeout)
        else:
            self._write_table(str(storage.spark_options.table), allow_overwrite, timeout)

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """What was asked for; of a query, only the span of its times is computed to know it."""
        span, columns, event_timestamp = self._plan.described()
        return RetrievalMetadata(
            features=list(self._wanted.feature_refs),
            keys=[name for name in columns if name != event_timestamp],
            min_event_timestamp=from_us(span[0]) if span else None,
            max_event_timestamp=from_us(span[1]) if span else None,
        )

    def _write(self, location: Location, overwrite: bool, timeout: int | None) -> None:
        there = exists(location)
        if there and not overwrite:
            raise SavedDatasetLocationAlreadyExists(location=location.address)
        within(
            timeout,
            lambda stop: write_folder(self._in_order(stop), location, stop, overwrite=there),
            what="Writing the result",
        )

    def _write_table(self, table: str, overwrite: bool, timeout: int | None) -> None:
        if self._join.session.catalog.tableExists(table) and not overwrite:
            raise SavedDatasetLocationAlreadyExists(location=table)

        def write(stop: Stop) -> None:
            with running(self._join.session, stop):
                self._in_order(stop).write.mode("overwrite").saveAsTable(table)

        within(timeout, write, what="Writing the result")

    def _in_order(self, stop: Stop) -> DataFrame:
        return self._everything(stop).orderBy(PLACE).drop(PLACE)

    def _everything(self, stop: Stop) -> DataFrame:
        found = self._plan.on_cluster(stop)
        for name, asker in self._wanted.request_inputs.items():
            if name not in found.columns:
                raise RequestDataNotFoundInEntityDfException(feature_name=name, feature_view_name=asker)
        return _with_on_demand(found, self._wanted)


class RetrievalPlan:
    """How to get the rows of a retrieval, for the driver and on the cluster."""

    examples: Examples

    def find(self, stop: Stop) -> pa.Table:
        """Bring the stored features to the driver, in the examples' order."""
        raise NotImplementedError

    def on_cluster(self, stop: Stop) -> DataFrame:
        """Return the examples with their stored features and their place."""
        raise NotImplementedError

    def described(self) -> tuple[tuple[int, int] | None, Sequence[str], str]:
        """Return the span of the times, the examples' columns, and which of them is the time."""
        raise NotImplementedError


class FramePlan(RetrievalPlan):
    """Examples from the driver. Only keys and times are sent to bring features back."""

    def __init__(self, examples: FrameExamples, join: SparkJoin) -> None:
        self.examples = examples
        self._join = join

    @override
    def find(self, stop: Stop) -> pa.Table:
        """Bring the stored features to the driver, in the examples' order."""
        questions = self.examples.questions(stop)
        rows = self._joined(questions.table, questions.event_timestamp).select(
            *map(named, [PLACE, *self._join.features])
        )
        found = collected(rows, stop).sort_by(PLACE)
        if found[PLACE].to_pylist() != list(range(questions.table.num_rows)):
            raise RowsNotConserved(f"{questions.table.num_rows} examples in, {found.num_rows} rows out.")
        return found.drop_columns([PLACE])

    @override
    def on_cluster(self, stop: Stop) -> DataFrame:
        """Return the examples with their stored features and their place."""
        return self._joined(self.examples.whole(stop), self.examples.questions(stop).event_timestamp)

    @override
    def described(self) -> tuple[tuple[int, int] | None, Sequence[str], str]:
        """Return the span of the times, the examples' columns, and which of them is the time."""
        questions = self.examples.questions(Stop())
        asked = span_of(questions.table, questions.event_timestamp)
        span = (asked.first_us, asked.last_us) if asked else None
        return span, self.examples.columns(Stop()), questions.event_timestamp

    def _joined(self, table: pa.Table, event_timestamp: str) -> DataFrame:
        examples = uploaded(self._join.session, table)
        return self._join.find(examples, event_timestamp, span_of(table, event_timestamp))


class ClusterPlan(RetrievalPlan):
    """Examples that are on the cluster and stay there, unless they are asked for with their features."""

    def __init__(self, rows: ClusterExamples, join: SparkJoin) -> None:
        self.examples = _Collected(self)
        self._rows = rows
        self._join = join
        self._found: pa.Table | None = None

    @property
    def columns(self) -> list[str]:
        """The examples' own columns."""
        return self._rows.columns

    @property
    def event_timestamp(self) -> str:
        """The column with the times of the questions."""
        return self._rows.event_timestamp

    def collect(self, stop: Stop) -> pa.Table:
        """Bring examples and features to the driver, once and together: a query may change its mind."""
        if self._found is None:
            self._found = collected(self.on_cluster(stop), stop).sort_by(PLACE)
        return self._found

    @override
    def find(self, stop: Stop) -> pa.Table:
        """Bring the stored features to the driver, in the examples' order."""
        return self.collect(stop).select(self._join.features)

    @override
    def on_cluster(self, stop: Stop) -> DataFrame:
        """Return the examples with their stored features and their place."""
        with running(self._join.session, stop):
            asked = self._rows.asked
        return self._join.find(self._rows.rows, self.event_timestamp, asked)

    @override
    def described(self) -> tuple[tuple[int, int] | None, Sequence[str], str]:
        """Return the span of the times, the examples' columns, and which of them is the time."""
        with running(self._join.session, Stop()):
            asked = self._rows.asked
        return (asked.first_us, asked.last_us) if asked else None, self.columns, self.event_timestamp


class _Collected:
    """Examples as they came back beside their features."""

    def __init__(self, plan: ClusterPlan) -> None:
        self._plan = plan

    def columns(self, stop: Stop) -> list[str]:
        del stop
        return self._plan.columns

    def questions(self, stop: Stop) -> Questions:
        return Questions(self.whole(stop), self._plan.event_timestamp)

    def whole(self, stop: Stop) -> pa.Table:
        return self._plan.collect(stop).select(self._plan.columns)

    def frame(self, stop: Stop) -> pd.DataFrame:
        frame: pd.DataFrame = self.whole(stop).to_pandas()
        return frame


def _with_on_demand(rows: DataFrame, wanted: Wanted) -> DataFrame:
    """Compute the on-demand views on the executors, which need this package and Feast for it."""
    if not wanted.on_demand:
        return rows
    made = [_OnDemand.of(view, wanted) for view in wanted.on_demand]
    fields = [tp.StructField(column, kind) for view in made for column, kind in view.columns.items()]
    schema = tp.StructType([*rows.schema.fields, *fields])
    return rows.mapInArrow(_computed(made, to_arrow_schema(schema, timezone="UTC")), schema)


@dataclass(frozen=True)
class _OnDemand:
    """An on-demand view as it travels to an executor."""

    view: bytes
    projection: bytes
    columns: dict[str, tp.DataType]
    full_feature_names: bool

    @classmethod
    def of(cls, view: OnDemandFeatureView, wanted: Wanted) -> "_OnDemand":
        kinds = {field.name: spark_type(field.dtype, field.name) for field in view.features}
        columns = {column: kinds[feature] for feature, column in wanted.outputs(view).items()}
        packed = view.to_proto().SerializeToString(), view.projection.to_proto().SerializeToString()
        return cls(*packed, columns, wanted.full_feature_names)

    def compute(self, rows: pa.Table) -> pa.Table:
        view = OnDemandFeatureView.from_proto(OnDemandFeatureViewProto.FromString(self.view))
        view.projection = FeatureViewProjection.from_proto(ProjectionProto.FromString(self.projection))
        return compute_on_demand(view, rows, full_feature_names=self.full_feature_names)


def _computed(views: Sequence[_OnDemand], schema: pa.Schema) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    def compute(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            inputs = table = pa.Table.from_batches([batch])
            for view in views:
                made = view.compute(inputs)
                for column in view.columns:
                    kind = schema.field(column).type
                    table = table.append_column(column, as_declared(made[column], kind, column))
            yield from table.to_batches()

    return compute
