"""From a Feast view and its file source to a table the as-of kernel can read."""

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID, FeatureView
from feast.labeling.label_view import LabelView
from feast.repo_config import RepoConfig
from feast.types import UnixTimestamp

from knownat.errors import RepoError
from knownat.stores.feast_types import packed_features, packed_types
from knownat.stores.locations import locate
from knownat.stores.scanning import Declared, Opened, csv_schema, pieces_of, scan_files
from knownat.stores.tables import POSITION, FeatureTable

_MICROSECOND = timedelta(microseconds=1)


def feature_table(view: FeatureView, config: RepoConfig) -> FeatureTable:
    """Open a view's source under the view's own names, field mapping applied to every column.

    Raises
    ------
    RepoError
        If the source cannot be read, or is not there.
    """
    source = batch_source(view)
    mapping = dict(source.field_mapping or {})
    opened = Opened.now(locate(source, config))
    declared = declared_types(view)
    rows, origin = scan_files(opened, declared, number=POSITION), scan_files(opened, declared)
    if renames := {old: new for old, new in mapping.items() if old in origin.collect_schema()}:
        rows, origin = rows.rename(renames), origin.rename(renames)
    own_names = {new: old for old, new in renames.items()}
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
        unchanged=opened.unchanged,
        origin=origin,
        pieces=pieces_of(opened, origin.collect_schema(), own_names),
    )


def batch_source(view: FeatureView | LabelView) -> DataSource:
    """Return what a view's history is read from.

    Raises
    ------
    RepoError
        If it has none.
    """
    if view.batch_source is None:
        raise RepoError(f"View '{view.name}' has no batch source; give it a FileSource.")
    return view.batch_source


def declared_types(view: FeatureView | LabelView) -> Declared:
    """Tell what a view declares of its source's columns, under the source's own names."""
    source = batch_source(view)
    own = {new: old for old, new in (source.field_mapping or {}).items()}
    times = [name for name in (source.timestamp_field, source.created_timestamp_column) if name]
    declared = {field.name: field.dtype for field in [*view.entity_columns, *view.features]}
    return {
        own.get(name, name): kind for name, kind in (declared | dict.fromkeys(times, UnixTimestamp)).items()
    }


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


def scan(source: DataSource, config: RepoConfig, declared: Declared | None = None) -> pl.LazyFrame:
    """Read a file source lazily; its path is relative to the repo, never to the working folder.

    Raises
    ------
    RepoError
        If it is another kind of source, there is no such file, or it is CSV and nothing is declared.
    """
    return scan_files(Opened.now(locate(source, config)), declared)


def source_schema(source: DataSource, config: RepoConfig) -> pa.Schema:
    """Return a source's columns, partitions last, as the files have them; those of a CSV are guessed.

    Raises
    ------
    RepoError
        If the source cannot be read.
    """
    location = locate(source, config)
    opened = Opened.now(location)
    if location.csv:
        times = [name for name in (source.timestamp_field, source.created_timestamp_column) if name]
        return csv_schema(opened, times)
    rows = scan_files(opened)
    schema: pa.Schema = rows.head(0).collect().to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    if location.remote:
        return schema
    # The engine has no maps, and its strings are large: what the files say is more exact.
    files = pa.unify_schemas(map(pq.read_schema, opened.files), promote_options="permissive")
    inside = [field for field in schema if field.name in files.names]
    return pa.schema(
        [*(files.field(field.name) for field in inside), *(f for f in schema if f not in inside)]
    )


def parquet_files(source: DataSource, config: RepoConfig) -> list[Path]:
    """List a source's local files in a fixed order.

    Raises
    ------
    RepoError
        If it is another kind of source, or there is no such file.
    """
    return locate(source, config).files()


def source_path(source: DataSource, config: RepoConfig) -> Path:
    """Return the absolute path of a local source.

    Raises
    ------
    RepoError
        If it is another kind of source, or in an object store.
    """
    return locate(source, config).path


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold a lock file; a second process waits. The kernel lets go of it if we die."""
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
