"""Rows written to a source's files, so that a reader meets all of them or none."""

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from knownat.errors import RepoError
from knownat.stores.deadline import Stop
from knownat.stores.locations import Location
from knownat.stores.scanning import Opened
from knownat.stores.sources import exclusive

_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


def append_rows(
    location: Location, rows: pa.Table, *, partition_by: Sequence[str] = (), inside: bool = False
) -> None:
    """Add rows: to a folder as new files, to a single file by replacing it with one that holds both.

    A folder that does not exist is made. Rows of several partitions become visible one file after
    the other, each of them whole. ``inside`` keeps the partitions' columns, and so their types, in
    the files as well as in the folders' names.

    Raises
    ------
    RepoError
        If the location is a pattern, a CSV, or a single object that others may be writing too.
    """
    if location.csv or location.pattern:
        kind = "CSV" if location.csv else f"the pattern '{location.pattern}'"
        raise RepoError(
            f"Source '{location.source}' is {kind}; rows can be added to a Parquet file or folder."
        )
    if location.remote:
        if not location.is_folder:
            raise RepoError(
                f"Source '{location.source}' is the single object {location.address}: of two writers, one "
                "would undo the other. Make it a folder: every write adds an object to it."
            )
        if partition_by:
            raise RepoError(
                f"Source '{location.source}' has partitions {list(partition_by)} in an object store; write "
                "them where its table is made."
            )
        put_object(location, location.address + _new_name(), rows)
    elif location.path.is_file():
        _append_to_file(location.path, rows)
    else:
        _append_to_folder(location.path, rows, partition_by, () if inside else partition_by)


def replace_rows(location: Location, slices: Iterable[pa.Table], stop: Stop) -> None:
    """Write rows in place of what was there: one file, or a folder with one file in it.

    The slices are written one after the other; an object store gets them in one piece.

    Raises
    ------
    RetrievalTimeout
        If the time is up before the last step, which is a rename; nothing has changed then.
    RepoError
        If it is a folder of an object store that holds something already.
    """
    if not location.remote:
        with staged(location.path, stop) as place:
            _write_slices(place, slices, stop)
        return
    if location.is_folder and exists(location):
        raise RepoError(
            f"{location.address} holds objects, which cannot be replaced in one step: a reader would meet "
            "old and new rows. Save under a new name."
        )
    rows = pa.concat_tables(slices)
    with stop.finishing():
        put_object(location, location.address + "rows.parquet" * location.is_folder, rows)


@contextmanager
def staged(path: Path, stop: Stop) -> Iterator[Path]:
    """Give the place of a file to write, which becomes ``path``, or the one file in folder ``path``.

    Feast's own rule: a name that ends with ``.parquet`` is a file, any other a folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file() or (path.suffix == ".parquet" and not path.is_dir()):
        with staged_file(path, stop) as file:
            yield file
        return
    place = path.with_name(f".{path.name}.{uuid.uuid4().hex}.staged")
    place.mkdir()
    try:
        yield place / "rows.parquet"
        _settle(place / "rows.parquet")
        with stop.finishing():
            replace_folder(place, path)
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def staged_file(path: Path, stop: Stop) -> Iterator[Path]:
    """Give the place of a file to write, which becomes ``path`` by a rename once it is whole."""
    place = path.with_name(f".{path.name}.{uuid.uuid4().hex}.staged")
    try:
        yield place
        _settle(place)
        with stop.finishing():
            place.replace(path)
    finally:
        place.unlink(missing_ok=True)


def exists(location: Location) -> bool:
    """Tell whether something is already there."""
    if not location.remote:
        return location.path.exists()
    try:
        Opened.now(location)
    except FileNotFoundError:
        return False
    except pl.exceptions.ComputeError as error:
        return "expanded paths were empty" not in str(error)
    return True


def put_object(location: Location, address: str, rows: pa.Table) -> None:
    """Write one object of an object store; it is seen once it is whole."""
    frame = pl.DataFrame(rows)
    frame.write_parquet(address, storage_options=dict(location.options))


def _append_to_file(path: Path, rows: pa.Table) -> None:
    with exclusive(path.with_name(f".{path.name}.lock")):
        before = pq.read_table(path)
        with staged_file(path, Stop()) as place:
            _write(place, pa.concat_tables([before, rows.cast(before.schema)]))


def _append_to_folder(
    folder: Path, rows: pa.Table, partition_by: Sequence[str], leave_out: Sequence[str]
) -> None:
    files = []
    try:
        for inside, some in _partitioned(rows, partition_by):
            place = folder / inside
            place.mkdir(parents=True, exist_ok=True)
            file = place / f".{_new_name()}.staged"
            files.append(file)
            _write(file, some.drop_columns(list(leave_out)))
            _settle(file)
        for file in files:
            file.replace(file.with_name(file.name.removeprefix(".").removesuffix(".staged")))
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def _partitioned(rows: pa.Table, names: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
    if not names:
        yield "", rows
        return
    for values in rows.select(list(names)).group_by(list(names)).aggregate([]).to_pylist():
        chosen = pa.scalar(value=True)
        for name, value in values.items():
            column = rows[name]
            same = pc.is_null(column) if value is None else pc.fill_null(pc.equal(column, value), False)
            chosen = pc.and_(chosen, same)
        yield (
            "/".join(f"{name}={_partition_value(value)}" for name, value in values.items()),
            rows.filter(chosen),
        )


def _partition_value(value: object) -> str:
    return _NULL_PARTITION if value is None else quote(str(value), safe=" :-+")


def _new_name() -> str:
    return f"rows-{uuid.uuid4().hex}.parquet"


def _write(place: Path, rows: pa.Table) -> None:
    pq.write_table(rows, place)


def _write_slices(place: Path, slices: Iterable[pa.Table], stop: Stop) -> None:
    rest = iter(slices)
    first = next(rest)
    with pq.ParquetWriter(place, first.schema) as writer:
        writer.write_table(first)
        for rows in rest:
            stop.check()
            writer.write_table(rows)


def _settle(file: Path) -> None:
    with file.open("rb") as written:
        os.fsync(written.fileno())


def replace_folder(place: Path, path: Path) -> None:
    """Put a folder in the place of another, or of a file.

    A folder that holds something cannot be replaced in one step: for a moment there is none, and a
    reader is told so; it never meets a mixture of old and new.
    """
    old = path.with_name(f".{path.name}.{uuid.uuid4().hex}.old")
    if path.exists():
        path.replace(old)
    place.replace(path)
    if old.is_file():
        old.unlink()
    shutil.rmtree(old, ignore_errors=True)
