"""Feast's provider with a strict door: what is pushed is stored exactly, or refused by name.

Feast's own turns a pushed 3.7 into the integer 3, rounds integers beyond 2^53 that share a column
with a null, and drops columns that it does not know. In ``feature_store.yaml``::

    provider: knownat.stores.provider.ExactProvider

Any online store may be used with it; the door is strict for the packed ones.
"""

import asyncio
from collections.abc import Iterable
from math import isnan
from typing import Any, TypeAlias

import pandas as pd
import pyarrow as pa
from feast.base_feature_view import BaseFeatureView
from feast.feature_view import FeatureView
from feast.infra.passthrough_provider import PassthroughProvider
from typing_extensions import override

from knownat.errors import EarlyRows, SchemaMismatch
from knownat.stores.feast_types import (
    OPAQUE,
    opaque_column,
    packed_column,
    packed_types,
    row_schema,
    value_type,
)
from knownat.stores.packed_online import PackedOnlineStore
from knownat.stores.packed_reads import view_name

Series: TypeAlias = "pd.Series[Any]"


class ExactProvider(PassthroughProvider):
    """Feast's own provider, but for what becomes of a pushed data frame."""

    @override
    def ingest_df(
        self,
        feature_view: BaseFeatureView,
        df: pd.DataFrame,
        field_mapping: dict[Any, Any] | None = None,
    ) -> None:
        """Write a data frame's rows online.

        Raises
        ------
        SchemaMismatch
            If a column is missing, of another type, or holds a value that its declared type cannot; or
            is unknown to a view that is not fed by a source it may share with others.
        EarlyRows
            If some rows are later than now by over a second; the others are written.
        """
        store = self.online_store
        if not isinstance(store, PackedOnlineStore) or not isinstance(feature_view, FeatureView):
            super().ingest_df(feature_view, df, field_mapping)
            return
        table, event, created = _frame_rows(feature_view, df)
        written = store.write_packed(self.repo_config, feature_view, table, event=event, created=created)
        if written.early:
            name = view_name(self.repo_config, feature_view)
            raise EarlyRows(str(name), written.early, written.stored + written.outranked)

    @override
    async def ingest_df_async(
        self,
        feature_view: BaseFeatureView,
        df: pd.DataFrame,
        field_mapping: dict[Any, Any] | None = None,
    ) -> None:
        """Do as :meth:`ingest_df` does, away from the event loop."""
        await asyncio.to_thread(self.ingest_df, feature_view, df, field_mapping)


def _frame_rows(view: FeatureView, df: pd.DataFrame) -> tuple[pa.Table, str, str | None]:
    """Return a data frame as a table of the view's rows, and the names of its time columns."""
    source = view.batch_source
    if source is None:
        raise SchemaMismatch(
            f"{view.name}: it has no source that would say which column is the event's time."
        )
    mapping = dict(source.field_mapping or {})
    frame = df.rename(columns=mapping)
    event = mapping.get(source.timestamp_field, source.timestamp_field)
    created = mapping.get(source.created_timestamp_column, source.created_timestamp_column) or None
    times = [name for name in (event, created) if name]
    types = packed_types(view)
    keys = [field.name for field in row_schema(view).keys]
    _check_columns(view, frame.columns, [*keys, *types, *times])
    columns = {name: _times(view, frame[name]) for name in times}
    columns |= {name: _array(view, frame[name]) for name in keys}
    fields = {field.name: field for field in row_schema(view).features}
    for declared in view.features:
        field, kind, given = fields[declared.name], value_type(declared), frame[declared.name]
        if field.dtype.startswith(OPAQUE):
            # By way of Arrow, the keys of all rows' maps would become keys of each.
            values = [None if _is_null(value) else value for value in given]
            columns[field.name] = opaque_column(view, field, kind, values)
        else:
            columns[field.name] = packed_column(view, field, kind, pa.chunked_array([_array(view, given)]))
    return pa.table(columns), event, created


def _check_columns(view: FeatureView, have: Iterable[str], wanted: list[str]) -> None:
    missing, unknown = set(wanted) - set(have), set(have) - set(wanted)
    shared = view.stream_source is not None
    if missing or (unknown and not shared) or len(set(have)) < len(list(have)):
        raise SchemaMismatch(
            f"{view.name}: its rows lack {sorted(missing)}, and have {sorted(unknown)}, which it does not "
            f"declare; a row has just {wanted}, each once. Correct the rows, or the view's schema."
        )


def _times(view: FeatureView, column: Series) -> pa.Array:
    # Feast's server gets times as text.
    text = pd.api.types.is_string_dtype(column) and not isinstance(column.dtype, pd.DatetimeTZDtype)
    return _array(view, pd.to_datetime(column, utc=True) if text else column)


def _array(view: FeatureView, column: Series) -> pa.Array:
    try:
        return pa.Array.from_pandas(column)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise SchemaMismatch(f"{view.name}: column '{column.name}' has no one type: {error}.") from error


def _is_null(value: object) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and isnan(value))
