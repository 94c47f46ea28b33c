"""From a Feast view and its file source to a table the as-of kernel can read."""

import fcntl
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlparse

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID, FeatureView
from feast.infra.offline_stores.file_source import FileSource
from feast.repo_config import RepoConfig

from knownat.errors import RepoError
from knownat.stores.feast_types import packed_features, packed_types
from knownat.stores.tables import FeatureTable

_MICROSECOND = timedelta(microseconds=1)


def feature_table(view: FeatureView, config: RepoConfig) -> FeatureTable:
    """Open a view's source under the view's own names, field mapping applied to every column.

    Raises
    ------
    RepoError
        If the source is no Parquet file or folder of them, or is not there.
    """
    source = view.batch_source
    if source is None:
        raise RepoError(f"View '{view.name}' has no batch source; give it a FileSource.")
    mapping = dict(source.field_mapping or {})
    rows = scan(source, config)
    if renames := {old: new for old, new in mapping.items() if old in rows.collect_schema()}:
        rows = rows.rename(renames)
    return FeatureTable(
        name=view.name,
        rows=rows,
        keys=view_keys(view),
        # Feast lets a definition name its time columns as they are in the file or as mapped.
        event=mapping.get(source.timestamp_field, source.timestamp_field),
        created=mapping.get(source.created_timestamp_column, source.created_timestamp_column) or None,
        features=tuple(feature.name for feature in view.features),
        types=packed_types(view),
        serialise=lambda rows: pa.table(packed_features(view, rows)),
    )


def view_keys(view: FeatureView) -> tuple[str, ...]:
    """Name a view's join keys; a view without entities has none."""
    return tuple(column.name for column in view.entity_columns if column.name != DUMMY_ENTITY_ID)


def asked_keys(view: FeatureView) -> dict[str, str]:
    """Map a view's join keys to the names a question has for them."""
    aliases: Mapping[str, str] = view.projection.join_key_map or {}
    return {key: aliases.get(key, key) for key in view_keys(view)}


def ttl_microseconds(view: FeatureView) -> int:
    """Return how old an event may be; 0 is for ever."""
    return view.ttl // _MICROSECOND if view.ttl else 0


def scan(source: DataSource, config: RepoConfig) -> pl.LazyFrame:
    """Read a file source lazily; its path is relative to the repo, never to the working folder."""
    return pl.scan_parquet(parquet_files(source, config))


def parquet_files(source: DataSource, config: RepoConfig) -> list[Path]:
    """List a source's Parquet files in a fixed order.

    Raises
    ------
    RepoError
        If it is another kind of source, or there is no such file.
    """
    path = source_path(source, config)
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*.parquet") if _is_whole(f, path))
    if not files:
        raise RepoError(
            f"Source '{source.name}' has no Parquet file at {path}. Run `knownat features build`, "
            "or correct its path: it is relative to the folder of feature_store.yaml."
        )
    return files


def source_path(source: DataSource, config: RepoConfig) -> Path:
    """Return the absolute path of a local Parquet source.

    Raises
    ------
    RepoError
        If it is another kind of source.
    """
    if not isinstance(source, FileSource):
        raise RepoError(f"Source '{source.name}' is a {type(source).__name__}; this store reads FileSource.")
    kind = source.file_format
    if not (kind is None or isinstance(kind, ParquetFormat)):
        raise RepoError(f"Source '{source.name}' is {type(kind).__name__}; this store reads Parquet.")
    if (scheme := urlparse(source.path).scheme) not in ("", "file"):
        raise RepoError(f"Source '{source.name}' is on '{scheme}'; this store reads local files.")
    path = Path(source.path.removeprefix("file://"))
    if not path.is_absolute() and config.repo_path is None:
        raise RepoError(f"Source '{source.name}' is relative, and the repo's folder is not known.")
    return path if path.is_absolute() else Path(config.repo_path or "/").absolute() / path


def append_parquet(path: Path, rows: pa.Table) -> None:
    """Add rows to a Parquet file or folder; a reader sees all of them or none.

    A folder gets a new file. A single file is replaced by one that holds both.
    """
    if path.is_dir():
        write_parquet(path / f"rows-{uuid.uuid4().hex}.parquet", rows)
        return
    with exclusive(path.with_name(f".{path.name}.lock")):
        before = pq.read_table(path)
        write_parquet(path, pa.concat_tables([before, rows.cast(before.schema)]))


def write_parquet(path: Path, rows: pa.Table) -> None:
    """Write a Parquet file beside its place and rename it, so that no reader meets half of it."""
    staged = path.with_name(f".{path.name}.{uuid.uuid4().hex}.staged")
    try:
        pq.write_table(rows, staged)
        with staged.open("rb") as written:
            os.fsync(written.fileno())
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold a lock file; a second process waits. The kernel lets go of it if we die."""
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _is_whole(file: Path, root: Path) -> bool:
    return not any(part.startswith((".", "_")) for part in file.relative_to(root).parts)
