"""Polars' frames as the Arrow and pandas that users of Feast expect."""

import pandas as pd
import polars as pl
import pyarrow as pa

_SMALL = {pa.large_string(): pa.string(), pa.large_binary(): pa.binary()}
_NULLABLE = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
}


def feast_arrow(frame: pl.DataFrame) -> pa.Table:
    """Return a frame with the types Feast names: ``string`` and ``list``, not their large kin."""
    table: pa.Table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    return table.cast(pa.schema([field.with_type(_small(field.type)) for field in table.schema]))


def exact_pandas(table: pa.Table) -> pd.DataFrame:
    """Return a table for pandas in which no integer becomes a double.

    pandas' plain integers have no null, so a column with one would be rounded beyond 2^53; it
    comes as pandas' own nullable integer instead.
    """
    with_nulls = [f.name for f in table.schema if f.type in _NULLABLE and table[f.name].null_count]
    frame: pd.DataFrame = table.drop_columns(with_nulls).to_pandas()
    exact: pd.DataFrame = table.select(with_nulls).to_pandas(types_mapper=_NULLABLE.get)
    together: pd.DataFrame = pd.concat([frame, exact], axis=1)[table.column_names]
    return together


def _small(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_large_list(kind) or pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_small(kind.value_type)))
    if pa.types.is_map(kind):
        return pa.map_(_small(kind.key_type), _small(kind.item_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_small(field.type)) for field in kind])
    return _SMALL.get(kind, kind)
