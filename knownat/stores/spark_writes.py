"""Results written by the executors: a folder of Parquet files that a reader meets whole or not at all."""

import shutil
import uuid

import pyarrow as pa
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema

from knownat.errors import RepoError
from knownat.stores.deadline import Stop
from knownat.stores.locations import Location
from knownat.stores.parquet_writes import replace_folder
from knownat.stores.spark_runs import running


def write_folder(rows: DataFrame, location: Location, stop: Stop, *, overwrite: bool) -> None:
    """Write rows in their order, file after file by name.

    A local path is a folder on a file system that every executor has mounted: files are staged
    beside it and renamed. In an object store Spark's committer decides what a reader meets, and
    what is there already is never replaced.

    Raises
    ------
    RepoError
        If rows that are there would have to be replaced in an object store.
    RetrievalTimeout
        If the time is up before the last step; nothing has changed then.
    """
    if location.remote:
        if overwrite:
            raise RepoError(
                f"{location.address} cannot be replaced in one step: a reader would meet old and new rows. "
                "Save under a new name."
            )
        with running(rows.sparkSession, stop):
            rows.write.mode("error").parquet(location.address.rstrip("/"))
        return
    path = location.path
    path.parent.mkdir(parents=True, exist_ok=True)
    place = path.with_name(f".{path.name}.{uuid.uuid4().hex}.staged")
    try:
        with running(rows.sparkSession, stop):
            rows.write.mode("error").parquet(f"file:{place}")
        with stop.finishing():
            replace_folder(place, path)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def append_to_spark(source: SparkSource, rows: pa.Table, session: SparkSession, *, view: str) -> None:
    """Append rows to a table of Spark's or a folder, under the source's own names and types.

    Raises
    ------
    RepoError
        If a column is too many, too few, or of another type, or the source is a query.
    """
    options = source.spark_options
    if not (options.table or options.path):
        raise RepoError(f"View '{view}': its source is a query, which nothing can be written to.")
    here = (
        session.table(options.table)
        if options.table
        else session.read.load(options.path, options.file_format)
    )
    own = {new: old for old, new in (source.field_mapping or {}).items() if new not in here.columns}
    rows = rows.rename_columns([own.get(name, name) for name in rows.column_names])
    if sorted(here.columns) != sorted(rows.column_names):
        raise RepoError(
            f"View '{view}': the rows have columns {rows.column_names}; its source has {here.columns}. Send "
            "exactly those."
        )
    wanted = to_arrow_schema(here.schema, timezone="UTC")
    try:
        added = session.createDataFrame(rows.select(here.columns).cast(wanted))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise RepoError(f"View '{view}': the rows do not fit its source: {error}") from error
    with running(session, Stop()):
        if options.table:
            added.write.insertInto(options.table)
        else:
            added.write.mode("append").format(options.file_format or "parquet").save(options.path)
