"""Features that no packed type holds, as the bytes that break their ties; made on the executors.

Only views that declare such a feature pay for it: their rows pass through Python once. The
executors need this package and Feast.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from feast.feature_view import FeatureView
from feast.protos.feast.core.FeatureView_pb2 import FeatureView as FeatureViewProto
from pyspark.sql import DataFrame
from pyspark.sql import types as tp

from knownat.stores.feast_types import packed_features

_PREFIX = "__bytes_of_"

Batches = Iterable[pa.RecordBatch]


def with_bytes(
    rows: DataFrame, view: FeatureView, features: Sequence[str]
) -> tuple[DataFrame, dict[str, str]]:
    """Add the serialised values of some features; return the rows and which column holds whose."""
    columns = {name: _PREFIX + name for name in features}
    if not columns:
        return rows, columns
    added = [tp.StructField(column, tp.BinaryType()) for column in columns.values()]
    schema = tp.StructType([*rows.schema.fields, *added])
    return rows.mapInArrow(_Serialise(view.to_proto().SerializeToString(), columns), schema), columns


@dataclass(frozen=True)
class _Serialise:
    """What an executor does; a class, since a function's closure cannot carry Feast's messages."""

    view: bytes
    columns: dict[str, str]

    def __call__(self, batches: Batches) -> Iterator[pa.RecordBatch]:
        declared = FeatureView.from_proto(FeatureViewProto.FromString(self.view))
        declared.features = [field for field in declared.features if field.name in self.columns]
        for batch in batches:
            table = pa.Table.from_batches([batch])
            packed = packed_features(declared, table)
            for name, column in self.columns.items():
                table = table.append_column(column, packed[name].cast(pa.binary()))
            yield from table.to_batches()
