"""A CSV file as text: every field as it was written, and the line each row begins on.

Nothing is guessed about values here, and nothing is left out: a row that cannot be read is named by
its line. What a spreadsheet writes is understood: a byte order mark, semicolons, tabs, quoted fields
that span lines.
"""

import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from knownat.errors import ConfigError

SEPARATORS = (",", ";", "\t", "|")
MOST_LINES = 5
"""How many lines a message names of those that have the same problem."""

_BOM = "\ufeff"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_SAMPLE = 50
_FIELD_CHARACTERS = 1_000_000


@dataclass(frozen=True)
class CsvText:
    """A table of text; an empty field is null. ``lines`` holds the line each row begins on."""

    path: Path
    separator: str
    columns: dict[str, pl.Series]
    lines: pl.Series

    @property
    def rows(self) -> int:
        """How many rows there are below the header."""
        return len(self.lines)


def read_csv_text(path: Path, *, separator: str | None = None, nulls: Sequence[str] = ()) -> CsvText:
    """Read a CSV file with a header; ``nulls`` are texts that stand for a missing value.

    Raises
    ------
    ConfigError
        If it cannot be read whole; every problem at once, each with its line.
    """
    text = _decode(path)
    chosen = separator or _guess_separator(path, text)
    header, records, problems = _parse(text, chosen)
    problems = [*_header_problems(header, chosen), *problems]
    if not problems and not records:
        problems = ["has a header and no rows, so what its columns hold cannot be told; add rows"]
    if problems:
        raise ConfigError(path, problems)
    fields = zip(*(record for _, record in records), strict=True)
    missing = {"", *nulls}
    columns = {
        name: pl.Series(name, [None if value.strip() in missing else value for value in values], pl.String)
        for name, values in zip(header, fields, strict=True)
    }
    return CsvText(path, chosen, columns, pl.Series("line", [line for line, _ in records], pl.Int64))


def name_lines(lines: pl.Series, marked: pl.Series) -> str:
    """Name the lines that are marked: ``line 7``, or ``lines 7, 9, 12 and 40 more``."""
    found = lines.filter(marked).to_list()
    shown = ", ".join(str(line) for line in found[:MOST_LINES])
    more = f" and {len(found) - MOST_LINES} more" if len(found) > MOST_LINES else ""
    return f"line{'s' if len(found) > 1 else ''} {shown}{more}"


def listed(names: Iterable[str]) -> str:
    """Name things as a sentence does.

    >>> listed(["day", "told at", "spend"])
    "'day', 'told at' and 'spend'"
    """
    *first, last = (f"'{name}'" for name in names)
    return f"{', '.join(first)} and {last}" if first else last


def _decode(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(path, [f"cannot be read: {error.strerror or error}"]) from error
    if not content.strip():
        raise ConfigError(path, ["is empty; a CSV begins with a line that names its columns"])
    if content.startswith(_UTF16):
        raise ConfigError(path, ["is UTF-16; save it as UTF-8, e.g. iconv -f UTF-16 -t UTF-8"])
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            path, [f"line {line} is not UTF-8; convert the file, e.g. iconv -f WINDOWS-1252 -t UTF-8"]
        ) from error
    return text.removeprefix(_BOM)


def _guess_separator(path: Path, text: str) -> str:
    """Choose the separator that gives the most columns, those first in which all rows are as wide."""
    found = {separator: _quality(text, separator) for separator in SEPARATORS}
    best = [separator for separator, quality in found.items() if quality == max(found.values())]
    if len(best) > 1 and found[best[0]][0]:
        raise ConfigError(path, [f"can be read with each of {best} between two fields; say --separator"])
    return best[0]


def _quality(text: str, separator: str) -> tuple[bool, int]:
    """Say whether the first rows are all as wide, and how wide the header is."""
    widths: list[int] = []
    try:
        widths += (len(row) for _, row in itertools.islice(_Records(text, separator), _SAMPLE) if row)
    except csv.Error:
        return False, widths[0] if widths else 0
    return len(set(widths)) == 1 and widths[0] > 1, widths[0] if widths else 0


def _parse(text: str, separator: str) -> tuple[list[str], list[tuple[int, list[str]]], list[str]]:
    reader = _Records(text, separator)
    records: list[tuple[int, list[str]]] = []
    problems: list[str] = []
    header: list[str] = []
    try:
        for line, record in reader:
            if not record:
                continue  # a blank line holds nothing
            if not header:
                header = [name.strip() for name in record]
            elif len(record) != len(header):
                problems.append(f"line {line} has {len(record)} fields, the header has {len(header)}")
            elif any("\0" in field for field in record):
                problems.append(f"line {line} holds a NUL byte")
            else:
                records.append((line, record))
    except csv.Error as error:
        begins = (records[-1][0] if records else 1) + 1
        problems.append(
            f"line {reader.line} cannot be read ({error}); look for a quote that is not closed, "
            f"from line {begins} on"
        )
    if len(problems) > 4 * MOST_LINES:
        left = len(problems) - 4 * MOST_LINES
        problems = [*problems[: 4 * MOST_LINES], f"and {left} more lines like these"]
    return header, records, problems


class _Records:
    """Records of a text, each with the line it begins on; ``line`` is the last one that was read."""

    def __init__(self, text: str, separator: str) -> None:
        # The module's limit is for the whole process; a longer field is an unclosed quote, or no feature.
        csv.field_size_limit(_FIELD_CHARACTERS)
        self._reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)

    @property
    def line(self) -> int:
        return self._reader.line_num

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        begins = 1
        for record in self._reader:
            yield begins, record
            begins = self._reader.line_num + 1


def _header_problems(header: Sequence[str], separator: str) -> Iterator[str]:
    if len(header) < 2:
        yield (
            f"has one column, read with the separator '{separator}'; a feature needs a key and a time too. "
            "Name another with --separator"
        )
    if empty := [place for place, name in enumerate(header, 1) if not name]:
        yield f"columns {empty} have no name in the header"
    if twice := sorted({name for name in header if name and header.count(name) > 1}):
        yield f"columns {twice} stand in the header more than once"
