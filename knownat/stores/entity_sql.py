"""Examples from a SQL query: an in-process DuckDB sees every data source of the project as a view.

The query can read those views and nothing else: no file, no network, no extension, no setting. A
source is opened by the same reader that the join uses, so its paths, types and partitions mean the
same, and only if the query names it.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from knownat.errors import RepoError
from knownat.stores.deadline import Stop

Tables = Mapping[str, Callable[[], pl.LazyFrame]]
"""How to open each table that a query may name."""

_SEALED = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "enable_external_access": "false",
    # An ASOF join of a filtered table is planned as a nested loop otherwise: minutes for seconds.
    "asof_loop_join_threshold": "0",
}


def query_examples(query: str, tables: Tables, stop: Stop) -> pa.Table:
    """Run one SELECT; its rows come in the query's order.

    Raises
    ------
    RepoError
        If it is no single SELECT, cannot be run, or reads times finer than a microsecond.
    RetrievalTimeout
        If the time is up before it is done.
    """
    with (
        tempfile.TemporaryDirectory(prefix="knownat-duckdb-") as scratch,
        duckdb.connect(config={**_SEALED, "temp_directory": scratch}) as connection,
    ):
        try:
            named = _tables_named(connection, query)
            by_name = {name.lower(): name for name in tables}
            for name in sorted({by_name[wanted.lower()] for wanted in named if wanted.lower() in by_name}):
                connection.register(name, _in_microseconds(tables[name](), name))
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET lock_configuration = true")
            with stop.interrupting(connection.interrupt):
                rows: pa.Table = connection.sql(query).to_arrow_table()
        except duckdb.Error as error:
            stop.check()
            raise RepoError(
                f"The examples' SQL cannot be run: {error}. It may read the project's data sources by "
                f"their names: {sorted(tables)}."
            ) from error
    return rows


def _tables_named(connection: duckdb.DuckDBPyConnection, query: str) -> set[str]:
    ((text,),) = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchall()
    tree: dict[str, Any] = json.loads(text)
    if tree.get("error", True) or len(tree["statements"]) != 1:
        problem = tree.get("error_message", "it has several statements")
        raise RepoError(f"The examples' SQL is not one SELECT that DuckDB understands: {problem}.")
    return {str(node["table_name"]) for node in _nodes(tree) if node.get("type") == "BASE_TABLE"}


def _nodes(tree: object) -> Iterator[dict[str, Any]]:
    inside: Iterable[object] = ()
    if isinstance(tree, dict):
        yield tree
        inside = tree.values()
    elif isinstance(tree, list):
        inside = tree
    for item in inside:
        yield from _nodes(item)


def _in_microseconds(rows: pl.LazyFrame, name: str) -> pl.LazyFrame:
    # DuckDB can neither compare nor cast nanoseconds of a time zone.
    fine = [
        (column, kind)
        for column, kind in rows.collect_schema().items()
        if isinstance(kind, pl.Datetime) and kind.time_unit == "ns"
    ]
    return rows.with_columns(
        pl.col(column).map_batches(
            partial(_exact, where=f"Source '{name}', column '{column}'"),
            return_dtype=pl.Datetime("us", kind.time_zone),
            is_elementwise=True,
        )
        for column, kind in fine
    )


def _exact(times: pl.Series, *, where: str) -> pl.Series:
    if (times.to_physical() % 1_000 != 0).any():
        raise RepoError(f"{where} is finer than a microsecond. Round it where the table is written.")
    return times.dt.cast_time_unit("us")
