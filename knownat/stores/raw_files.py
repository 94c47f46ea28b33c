"""Raw files, found and loaded with declared types."""

import hashlib
import importlib.util
import shutil
import zipfile
from pathlib import Path

import duckdb

from knownat.errors import RepoError
from knownat.stores.pipeline_spec import RawFile


class RawFileError(RepoError):
    """A raw file is missing or is not what the pipelines declare."""


def find_raw_file(name: str, raw: RawFile, *, repo: Path) -> Path:
    """Find a raw file in its installed package, which is not imported, or in the repo.

    Raises
    ------
    RawFileError
        If the package is not installed or the file is not there.
    """
    folder = repo
    if raw.package is not None:
        spec = importlib.util.find_spec(raw.package)
        if spec is None or not spec.submodule_search_locations:
            raise RawFileError(
                f"Raw file '{name}' comes with the package '{raw.package}', which is not installed here. "
                f"Install it, or give [raw.{name}] a path in the repo."
            )
        folder = Path(spec.submodule_search_locations[0])
    path = folder / raw.path
    if not path.is_file():
        raise RawFileError(f"Raw file '{name}' is not at {path}; correct [raw.{name}] in pipelines.toml.")
    return path


def digest(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def load_raw_file(
    connection: duckdb.DuckDBPyConnection, name: str, raw: RawFile, *, path: Path, scratch: Path
) -> None:
    """Load a raw file as the table ``raw_<name>``.

    Raises
    ------
    RawFileError
        If the file's header is not the declared columns, or a value does not fit its type.
    """
    plain = _unpack(name, path, scratch) if zipfile.is_zipfile(path) else path
    with plain.open(encoding="utf-8") as stream:
        header = stream.readline().strip().replace('"', "").split(",")
    if header != list(raw.columns):
        raise RawFileError(
            f"{path} has the columns {header}, but [raw.{name}.columns] declares {list(raw.columns)}."
        )
    columns = ", ".join(f"{_literal(column)}: {_literal(kind)}" for column, kind in raw.columns.items())
    query = (
        f'CREATE TABLE "raw_{name}" AS FROM read_csv(?, header = true, auto_detect = false, '
        f"delim = ',', quote = '\"', escape = '\"', nullstr = ?, columns = {{{columns}}})"
    )
    try:
        connection.execute(query, [str(plain), raw.null])
    except duckdb.Error as error:
        raise RawFileError(f"{path} does not fit [raw.{name}]: {error}") from error


def _unpack(name: str, path: Path, scratch: Path) -> Path:
    # DuckDB reads gzip, but no zip archive.
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        if len(members) != 1:
            raise RawFileError(f"{path} holds {len(members)} files; raw file '{name}' must be its only one.")
        plain = scratch / f"{name}.csv"
        with archive.open(members[0]) as packed, plain.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
    return plain


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
