"""Packed rows to values: one row by ``struct``, many at once by numpy.

A feature that a row's schema lacks is null: a row written before the feature was added says
nothing about it. A feature whose stored type is not the asked one is refused by name; int32 reads
as int64 and float32 as float64.
"""

import operator
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from knownat.clock import from_us
from knownat.errors import SchemaMismatch
from knownat.stores.codec import BIAS, FIXED, RowField, RowSchema

Stored = tuple[Any, ...]
Taken = slice | npt.NDArray[np.intp]
Late = Callable[[bytes, Stored], object]

DecodedRow = tuple[list[object], int, int]
"""A row's values, and its event and created time in UTC microseconds."""

Codes = Mapping[str, Mapping[bytes, float]]
"""Per text feature, the number that stands for each known category in a matrix."""

_WIDER = {("int32", "int64"), ("float32", "float64")}
_FIRST_VALUE = 6  # After version, event, created, width, fingerprint and null bits.
_MOST_PATTERNS = 4_096


def row_times(row: bytes) -> tuple[int, int]:
    """Return a row's event and created time in UTC microseconds."""
    return int.from_bytes(row[1:9], "big") - BIAS, int.from_bytes(row[9:17], "big") - BIAS


class RowDecoder:
    """Decodes rows of one schema into the asked features, in the asked order."""

    def __init__(self, schema: RowSchema, wanted: Sequence[RowField]) -> None:
        self.schema = schema
        self.layout = schema.layout
        number = int(np.uint64(schema.number).astype(np.int64))
        self.expected = (number, self.layout.least_bytes, self.layout.most_bytes)
        """The schema's number, and the least and most bytes of a row of it."""
        stored = _stored_fields(schema, wanted)
        self._found = [(i, schema.features.index(f), f) for i, f in enumerate(stored) if f is not None]
        self._place = {position: place for position, place, _ in self._found}
        self._missing = [i for i, field in enumerate(stored) if field is None]
        self.lacking = tuple(wanted[i].name for i in self._missing)
        fixed = len(schema.features) - self.layout.variable
        # What one plain pick takes; text, times and missing features are put in place afterwards.
        picks = [0] * len(wanted)
        self._late: list[tuple[int, Late]] = [(position, _nothing) for position in self._missing]
        for position, place, field in self._found:
            if place >= fixed:
                size, end = self.layout.fixed.size, _FIRST_VALUE + place
                self._late.append((position, _tail_reader(size, end, place - fixed, field.dtype)))
            elif field.dtype == "timestamp":
                self._late.append((position, _moment(_FIRST_VALUE + place)))
            else:
                picks[position] = _FIRST_VALUE + place
        self._unpack = self.layout.fixed.unpack_from
        self._pick = _picker(picks)
        self._texts = [found for found in self._found if found[2].dtype not in FIXED]
        self._blocks = [block for dtype in self.layout.groups for block in self._block(dtype)]
        self._no_nulls = bytes(self.layout.null_bytes)
        self._patterns: dict[bytes, tuple[int, ...]] = {self._no_nulls: ()}

    def _block(self, dtype: str) -> list[tuple[str, Taken, Taken]]:
        """Where a matrix gets its columns of one type from, in one piece where they lie so."""
        first = self.layout.first[dtype]
        some = [(position, place - first) for position, place, field in self._found if field.dtype == dtype]
        return [(dtype, _taken([p for p, _ in some]), _taken([c for _, c in some]))] if some else []

    def values(self, row: bytes) -> list[object]:
        """Decode the values of one row whose check was verified."""
        return self.one(row)[0]

    def one(self, row: bytes) -> DecodedRow:
        """Decode one row whose check was verified; a null is None."""
        stored = self._unpack(row)
        values = list(self._pick(stored))
        for position, read in self._late:
            values[position] = read(row, stored)
        nulls = stored[5]
        if nulls != self._no_nulls:
            for position in self._null_positions(nulls):
                values[position] = None
        return values, stored[1] - BIAS, stored[2] - BIAS

    def _null_positions(self, nulls: bytes) -> tuple[int, ...]:
        if (known := self._patterns.get(nulls)) is None:
            known = tuple(position for position, place, _ in self._found if _is_null(nulls, place))
            if len(self._patterns) < _MOST_PATTERNS:
                self._patterns[nulls] = known
        return known

    def records(self, rows: Sequence[bytes]) -> np.ndarray:
        """View the fixed part of rows of this schema as one numpy array."""
        if not self.layout.variable:
            return np.frombuffer(b"".join(rows), dtype=self.layout.whole_record)
        size = self.layout.fixed.size
        return np.frombuffer(b"".join([row[:size] for row in rows]), dtype=self.layout.record)

    def columns(
        self, rows: Sequence[bytes], records: np.ndarray, nulls: bytes | None = None
    ) -> list[list[object]]:
        """Decode rows to Python values, one list a feature; a null is None.

        ``nulls`` are the null bits of all rows together, where the caller has them.
        """
        decoded: list[list[object]] = [[None] * len(rows)] * (len(self._found) + len(self._missing))
        nulls = _any_null(records) if nulls is None else nulls
        for position, place, field in self._found:
            decoded[position] = column = self._column(rows, records, place, field)
            if _is_null(nulls, place):
                for i in np.flatnonzero(_null_mask(records, place)).tolist():
                    column[i] = None
        return decoded

    def _column(
        self, rows: Sequence[bytes], records: np.ndarray, place: int, field: RowField
    ) -> list[object]:
        if field.dtype in FIXED:
            values: list[Any] = records[field.dtype][:, place - self.layout.first[field.dtype]].tolist()
            return [from_us(v) for v in values] if field.dtype == "timestamp" else values
        read = _value_reader(field.dtype)
        return [read(raw) for raw in self._tails(rows, records, place)]

    def _tails(self, rows: Sequence[bytes], records: np.ndarray, place: int) -> list[bytes]:
        column = place - (len(self.schema.features) - self.layout.variable)
        size = self.layout.fixed.size
        ends = (records["ends"][:, column].astype(np.int64) + size).tolist()
        starts = [size] * len(rows)
        if column:
            starts = (records["ends"][:, column - 1].astype(np.int64) + size).tolist()
        return [row[start:end] for row, start, end in zip(rows, starts, ends, strict=True)]

    def fill_matrix(
        self,
        rows: Sequence[bytes],
        records: np.ndarray,
        out: npt.NDArray[np.float64],
        codes: Codes,
        nulls: bytes | None = None,
    ) -> None:
        """Decode rows into ``out``, shape (rows, features); null, unknown text and missing are NaN.

        ``nulls`` are the null bits of all rows together, where the caller has them.

        Raises
        ------
        SchemaMismatch
            If a feature is a list or bytes, or text without codes: it has no place in a matrix.
        """
        for dtype, into, taken in self._blocks:
            block = records[dtype]
            # To put columns in another order is cheap once they are this machine's numbers.
            out[:, into] = block[:, taken] if isinstance(taken, slice) else _native(block).take(taken, axis=1)
        for position in self._missing:
            out[:, position] = np.nan
        for position, place, field in self._texts:
            known = codes.get(field.name)
            if known is None or field.dtype != "string":
                raise SchemaMismatch(f"Feature '{field.name}' is {field.dtype}; a matrix holds numbers only.")
            out[:, position] = [known.get(raw, np.nan) for raw in self._tails(rows, records, place)]
        nulls = _any_null(records) if nulls is None else nulls
        if nulls != self._no_nulls:
            for position in self._null_positions(nulls):
                out[_null_mask(records, self._place[position]), position] = np.nan


def record_times(records: np.ndarray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the event and created times of many rows in UTC microseconds."""
    bias = np.uint64(BIAS)
    event = (records["event"].astype(np.uint64) ^ bias).view(np.int64)
    return event, (records["created"].astype(np.uint64) ^ bias).view(np.int64)


def _stored_fields(schema: RowSchema, wanted: Sequence[RowField]) -> list[RowField | None]:
    stored = {field.name: field for field in schema.features}
    found = [stored.get(field.name) for field in wanted]
    for asked, have in zip(wanted, found, strict=True):
        if have is not None and have.dtype != asked.dtype and (have.dtype, asked.dtype) not in _WIDER:
            raise SchemaMismatch(
                f"Feature '{asked.name}' is stored as {have.dtype}, but read as {asked.dtype}. "
                "A feature keeps its type; give the new type a new name."
            )
    return found


def _native(block: np.ndarray) -> np.ndarray:
    return block.astype(block.dtype.newbyteorder("="))


def _picker(places: list[int]) -> Callable[[Stored], Sequence[object]]:
    if len(places) == 1:
        (only,) = places
        return lambda stored: (stored[only],)
    return operator.itemgetter(*places) if places else lambda _: ()


def _taken(places: list[int]) -> Taken:
    if places == list(range(places[0], places[-1] + 1)):
        return slice(places[0], places[-1] + 1)
    return np.array(places, dtype=np.intp)


def _is_null(nulls: bytes, place: int) -> bool:
    return bool(nulls[place // 8] & (0x80 >> place % 8))


def _any_null(records: np.ndarray) -> bytes:
    together: bytes = np.bitwise_or.reduce(records["nulls"], axis=0).tobytes()
    return together


def _null_mask(records: np.ndarray, place: int) -> npt.NDArray[np.bool_]:
    mask: npt.NDArray[np.bool_] = (records["nulls"][:, place // 8] & np.uint8(0x80 >> place % 8)) != 0
    return mask


def _nothing(_row: bytes, _stored: Stored) -> None:
    return None


def _moment(place: int) -> Late:
    return lambda _row, stored: from_us(stored[place])


def _tail_reader(size: int, end: int, column: int, dtype: str) -> Late:
    read = _value_reader(dtype)
    if column == 0:
        return lambda row, stored: read(row[size : size + stored[end]])
    return lambda row, stored: read(row[size + stored[end - 1] : size + stored[end]])


def _value_reader(dtype: str) -> Callable[[bytes], object]:
    if dtype == "string":
        return lambda raw: raw.decode("utf-8")
    if not dtype.startswith("list<"):
        return lambda raw: raw
    item = dtype[5:-1]
    if item not in FIXED:
        return lambda raw: _sized_items(raw, text=item == "string")
    code = FIXED[item][0]
    width = struct.calcsize(">" + code)
    if item == "timestamp":
        return lambda raw: [from_us(v) for v in struct.unpack(f">{len(raw) // width}q", raw)]
    return lambda raw: list(struct.unpack(f">{len(raw) // width}{code}", raw))


def _sized_items(raw: bytes, *, text: bool) -> list[object]:
    items: list[object] = []
    at = 0
    while at < len(raw):
        end = at + 4 + int.from_bytes(raw[at : at + 4], "big")
        items.append(raw[at + 4 : end].decode("utf-8") if text else raw[at + 4 : end])
        at = end
    return items
