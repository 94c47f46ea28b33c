"""A model's own prediction log and labels as raw tables, so that its answers can be learned from.

``served_<name>`` holds the predictions, ``served_<name>_labels`` every label that was posted for them,
corrections too. A label may say that it was known long before it was posted; the platform knew it when it
was posted, so an event of labels declares ``known_at = "greatest(label_timestamp, logged_at)"``.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from knownat.contract.log_reader import LABELS, read_parts, version_folders
from knownat.contract.prediction_log import LABEL_SCHEMA, TIMESTAMP
from knownat.errors import RepoError
from knownat.stores.pipeline_spec import LogDtype, ServedLog

_ALWAYS = {
    "prediction_id": pa.string(),
    "request_id": pa.string(),
    "logged_at": TIMESTAMP,
    "event_timestamp": TIMESTAMP,
    "version": pa.string(),
    "role": pa.string(),
    "degraded": pa.bool_(),
    "score": pa.float64(),
}
_ARROW: dict[LogDtype, pa.DataType] = {
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "VARCHAR": pa.string(),
    "TIMESTAMPTZ": TIMESTAMP,
}


class ServedLogError(RepoError):
    """The prediction log is not what the pipelines declare."""


@dataclass(frozen=True)
class ServedRows:
    """What a model answered and what became true of it, each in an order that the rows alone decide."""

    predictions: pa.Table
    labels: pa.Table

    @property
    def digest(self) -> str:
        """The sha256 of all that can differ: a prediction's row never changes, a label has no id."""
        parts = hashlib.sha256()
        for column in (self.predictions["prediction_id"], *self.labels.columns):
            parts.update("\n".join(map(str, column.cast(pa.string()).to_pylist())).encode())
            parts.update(b"\0")
        return parts.hexdigest()


def read_served(name: str, served: ServedLog, *, log: Path) -> ServedRows:
    """Read a model's log below ``log``, also while it is being written.

    Raises
    ------
    ServedLogError
        If no version ever logged a declared column, or one logged it as another type.
    LogError
        If a file of the log is damaged beyond its tail.
    """
    wanted = pa.schema({**_ALWAYS, **{column: _ARROW[kind] for column, kind in served.columns.items()}})
    seen: set[str] = set()
    tables = [wanted.empty_table()]
    for table in _parts(log, served.model):
        seen.update(table.column_names)
        tables.append(_laid_out(table, wanted, name))
    if seen and (missing := sorted(set(wanted.names) - seen)):
        known = sorted(column for column in seen if column.startswith(("key__", "input__")))
        raise ServedLogError(
            f"[served.{name}]: no version of '{served.model}' logged {missing}. It was asked with {known}; "
            "each feature stands under its full name."
        )
    predictions = _ordered(pa.concat_tables(tables), ("event_timestamp", "logged_at", "prediction_id"))
    labels = pa.concat_tables([LABEL_SCHEMA.empty_table(), *(p.table for p in read_parts(log / LABELS))])
    own = labels.filter(pc.starts_with(labels["prediction_id"], f"{served.model}."))
    return ServedRows(predictions, _ordered(own, tuple(LABEL_SCHEMA.names)))


def load_served(connection: duckdb.DuckDBPyConnection, name: str, rows: ServedRows) -> None:
    """Load a model's log as the tables ``served_<name>`` and ``served_<name>_labels``."""
    for table, content in ((f"served_{name}", rows.predictions), (f"served_{name}_labels", rows.labels)):
        connection.register("served_rows", content)
        connection.execute(f'CREATE TABLE "{table}" AS FROM served_rows')
        connection.unregister("served_rows")


def _parts(log: Path, model: str) -> Iterator[pa.Table]:
    for folder in version_folders(log, model):
        for part in read_parts(folder):
            if part.table.num_rows:
                yield part.table


def _laid_out(table: pa.Table, wanted: pa.Schema, name: str) -> pa.Table:
    # A version that did not log a column, since it did not know it yet, has nulls there.
    for field in wanted:
        if field.name in table.column_names and (kind := table.schema.field(field.name).type) != field.type:
            raise ServedLogError(
                f"[served.{name}.columns]: '{field.name}' is declared as {field.type}, but logged as {kind}."
            )
    columns = [
        table[field.name] if field.name in table.column_names else pa.nulls(table.num_rows, field.type)
        for field in wanted
    ]
    return pa.table(columns, schema=wanted)


def _ordered(table: pa.Table, names: tuple[str, ...]) -> pa.Table:
    return table.sort_by([(name, "ascending") for name in names])
