"""What each built table was made from, so that one whose inputs did not change is kept."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from knownat.stores.raw_files import digest


@dataclass(frozen=True)
class Stamp:
    """A table as it was built: the digest of its inputs, and of its own bytes."""

    inputs: str
    sha256: str
    rows: int


class Stamps:
    """The stamps of one output folder, kept beside the tables in ``built.json``.

    A stamp is believed only while the table's bytes are the stamped ones: a table that was changed,
    cut short or removed by anyone is built again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "built.json"
        self._stamps = _read(self._file)

    def find(self, table: Path, *, inputs: str) -> Stamp | None:
        """Return a table's stamp if it was made from these inputs and has not been touched since."""
        stamp = self._stamps.get(self._name(table))
        if stamp is None or stamp.inputs != inputs or not table.is_file() or digest(table) != stamp.sha256:
            return None
        return stamp

    def sha256(self, table: Path) -> str | None:
        """Return the digest of a table as it was last built, or None if it never was."""
        stamp = self._stamps.get(self._name(table))
        return None if stamp is None else stamp.sha256

    def put(self, table: Path, *, inputs: str, rows: int) -> Stamp:
        """Stamp a table that was just built."""
        stamp = Stamp(inputs, digest(table), rows)
        self._stamps[self._name(table)] = stamp
        staged = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        text = json.dumps({name: asdict(each) for name, each in sorted(self._stamps.items())}, indent=1)
        staged.write_text(text, encoding="utf-8")
        staged.replace(self._file)
        return stamp

    def _name(self, table: Path) -> str:
        return table.relative_to(self._folder).as_posix()


def _read(file: Path) -> dict[str, Stamp]:
    # Stamps that cannot be read only cost a build.
    try:
        return {name: Stamp(**entry) for name, entry in json.loads(file.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
