"""How much each folder of the prediction log holds, counted from its files."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow.compute as pc

from knownat.contract.log_reader import LABELS, read_parts


@dataclass
class Book:
    """One folder of the log."""

    log: str
    rows: int = 0
    unsealed: int = 0
    bytes: int = 0
    torn_bytes: int = 0
    first: datetime | None = None
    last: datetime | None = None

    def told(self) -> dict[str, object]:
        """Return it as JSON has it."""
        times = {"first": self.first and self.first.isoformat(), "last": self.last and self.last.isoformat()}
        return {
            "log": self.log,
            "rows": self.rows,
            "unsealed": self.unsealed,
            "bytes": self.bytes,
            "torn_bytes": self.torn_bytes,
            **times,
        }


def read_books(root: Path) -> list[Book]:
    """Count every folder's rows, the labels' last; the times are of the questions, or of the posts.

    Raises
    ------
    LogError
        If a file is damaged beyond its tail.
    """
    folders = sorted(path for path in root.glob("*/*") if path.is_dir())
    found = [_read_book(root, folder, "event_timestamp") for folder in folders]
    labels = root / LABELS
    return [*found, _read_book(root, labels, "logged_at")] if labels.is_dir() else found


def _read_book(root: Path, folder: Path, column: str) -> Book:
    book = Book(folder.relative_to(root).as_posix())
    for part in read_parts(folder):
        rows = len(part.table)
        book.rows += rows
        book.unsealed += rows * (part.path.suffix == ".bin")
        book.torn_bytes += part.torn_bytes
        book.bytes += part.path.stat().st_size if part.path.exists() else 0
        if rows:
            span = pc.min_max(part.table[column]).as_py()
            book.first = min(filter(None, (book.first, span["min"])))
            book.last = max(filter(None, (book.last, span["max"])))
    return book
