"""The last word between rows of a key with equal times: the greatest packed payload wins.

It is the payload that the online stores compare (``knownat.stores.codec``), so offline and online
settle on the same row, in whatever order rows arrived. It holds every feature of the view, never
only those a reader asked for, so reading fewer columns cannot change which row wins.
"""

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from knownat.errors import RepoError, SchemaMismatch
from knownat.stores.codec import RowSchema, row_dtype
from knownat.stores.codec_write import canonical_rows
from knownat.stores.tables import FeatureTable


def are_winners(
    groups: npt.NDArray[np.integer], values: pl.DataFrame, table: FeatureTable
) -> npt.NDArray[np.bool_]:
    """Tell of each row whether it wins its group; of rows with equal payloads one does.

    ``values`` holds every feature of the table, a row for each of ``groups``.

    Raises
    ------
    RepoError
        If a value does not fit its declared type: then the row has no place in an online store.
    """
    if table.features:
        ranks = pl.Series(payloads(values, table), dtype=pl.Binary)
        order = pl.select(ranks.alias("rank"), group=pl.Series(groups)).select(
            pl.arg_sort_by("group", "rank")
        )
        at = order.to_series().to_numpy()
    else:
        at = np.argsort(groups, kind="stable")
    ordered = groups[at]
    wins = np.zeros(len(groups), dtype=np.bool_)
    wins[at[np.append(ordered[1:] != ordered[:-1], [True] * bool(len(at))).astype(np.bool_)]] = True
    return wins


def payloads(values: pl.DataFrame, table: FeatureTable) -> list[bytes]:
    """Encode each row's features as its online row would hold them.

    Raises
    ------
    RepoError
        If a value does not fit its declared type.
    """
    rows: pa.Table = values.select(table.features).to_arrow(compat_level=pl.CompatLevel.oldest())
    try:
        if table.serialise is not None:
            rows = table.serialise(rows)
        types = {
            name: table.types.get(name) or _packed_type(rows.schema.field(name).type)
            for name in table.features
        }
        return canonical_rows(RowSchema.of(keys={}, features=types), rows)
    except SchemaMismatch as error:
        raise RepoError(
            f"{table.name}: rows with equal times cannot be told apart. {error} Correct the view's schema "
            "or the table."
        ) from error


def _packed_type(kind: pa.DataType) -> str:
    """Name the packed type of a column nobody declared."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_integer(kind) or pa.types.is_null(kind):
        return "int64"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return f"list<{_packed_type(kind.value_type)}>"
    return row_dtype(str(kind))
