"""A plain as-of lookup over one built table, independent of the store's."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from knownat.stores.pipelines import BuiltTable

TIMES = ("event_timestamp", "created_timestamp")


def read_frame(table: BuiltTable) -> pd.DataFrame:
    """Read a built table; times become whole microseconds since 1970."""
    read = pq.read_table(table.path)
    for name in TIMES:
        read = read.set_column(read.column_names.index(name), name, read[name].cast("int64"))
    return read.to_pandas()


class AsOfTable:
    """The newest visible row of a key, by filtering all its rows."""

    def __init__(self, table: BuiltTable, *keys: str) -> None:
        self._frame = read_frame(table)
        grouper = list(keys) if len(keys) > 1 else keys[0]
        self._positions = self._frame.groupby(grouper, sort=False).indices
        self._event, self._created = (self._frame[name].to_numpy() for name in TIMES)

    def newest(self, *key: object, at_s: int) -> dict[str, object]:
        """Return a row by column name, or nothing at all where none is visible."""
        rows = self._positions.get(key if len(key) > 1 else key[0], np.empty(0, dtype=np.int64))
        rows = rows[np.maximum(self._event[rows], self._created[rows]) <= at_s * 1_000_000]
        if not len(rows):
            return {}
        rows = rows[self._event[rows] == self._event[rows].max()]
        return self._frame.iloc[rows[self._created[rows].argmax()]].to_dict()
