"""The journal: framed records with checksums, each in one plain ``write`` before its answer leaves.

A killed process loses nothing it wrote; a power cut leaves at most a torn tail, which readers skip and
count. The first frame carries the schema, so a journal can be read alone.

Layout
------
``MAGIC``, then frames of ``length (u32) | crc32 of length and payload (u32) | payload``, little-endian.
The first payload is the Arrow schema; each other one a row: a bitmap of its nulls, one fixed slot a
column (a text's slot holds its length), then the texts as UTF-8.
"""

import fcntl
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from knownat.contract.prediction_log import TIMESTAMP
from knownat.errors import LogError

MAGIC = b"knownat1"
_FRAME = struct.Struct("<II")
_LENGTH = struct.Struct("<I")

# Arrow type -> (struct code, NumPy type) of its fixed slot.
_SLOTS = {
    pa.int64(): ("q", "<i8"),
    pa.float64(): ("d", "<f8"),
    pa.bool_(): ("?", "?"),
    pa.string(): ("I", "<u4"),
    TIMESTAMP: ("q", "<i8"),
}


class RowCodec:
    """Rows of one schema as bytes and back, every value exact to the bit."""

    def __init__(self, schema: pa.Schema) -> None:
        if odd := [f"{f.name}: {f.type}" for f in schema if f.type not in _SLOTS]:
            raise LogError(f"The log cannot hold {odd}; its columns are {[str(kind) for kind in _SLOTS]}.")
        self.schema = schema
        self._codes = [_SLOTS[field.type][0] for field in schema]
        self._bitmap = (len(self._codes) + 7) // 8
        self._fixed = struct.Struct(f"<{self._bitmap}s{''.join(self._codes)}")
        self._slots = np.dtype(
            [("nulls", "u1", (self._bitmap,))]
            + [(f"c{i}", _SLOTS[field.type][1]) for i, field in enumerate(schema)]
        )
        self._required = sum(1 << i for i, field in enumerate(schema) if not field.nullable)
        self._texts_at = tuple(i for i, code in enumerate(self._codes) if code == "I")
        self._truths_at = tuple(i for i, code in enumerate(self._codes) if code == "?")
        self._no_nulls = bytes(self._bitmap)

    @property
    def fixed_bytes(self) -> int:
        """Where a row's first text begins in its payload."""
        return self._fixed.size

    def encode(self, row: Sequence[object]) -> bytes:
        """Pack one row, its values in the schema's order, timestamps as UTC microseconds.

        Raises
        ------
        LogError
            If a value is not of its column's type, or a required one is null.
        """
        try:
            return self._pack(list(row), self._no_nulls)
        except (struct.error, TypeError, ValueError, OverflowError, IndexError):
            # Most often because of a null: to look for one in every row would cost as much as to pack it.
            try:
                slots = list(row)
                return self._pack(slots, self._take_nulls(slots))
            except (struct.error, TypeError, ValueError, OverflowError, IndexError) as error:
                raise LogError(f"A row does not fit the log's schema: {self._misfit(row)}.") from error

    def _pack(self, slots: list[Any], nulls: bytes) -> bytes:
        texts = []
        for position in self._texts_at:
            texts.append(text := str.encode(slots[position]))
            slots[position] = len(text)
        for position in self._truths_at:
            # The packer would take anything.
            if type(slots[position]) is not bool:
                raise TypeError("a value of another type where a truth belongs")
        return self._fixed.pack(nulls, *slots) + b"".join(texts)

    def _take_nulls(self, slots: list[Any]) -> bytes:
        """Put something that packs where a value is missing; return the bitmap of the missing."""
        nulls = 0
        for position, value in enumerate(slots):
            if value is None:
                nulls |= 1 << position
                slots[position] = "" if self._codes[position] == "I" else False
        if nulls & self._required:
            raise TypeError("a null where a value is required")
        return nulls.to_bytes(self._bitmap, "little")

    def decode(self, payloads: Sequence[bytes]) -> pa.Table:
        """Unpack rows into a table of the schema, in order.

        Raises
        ------
        LogError
            If a payload is not a row of this schema.
        """
        size = self._fixed.size
        if any(len(payload) < size for payload in payloads):
            raise LogError("A record is shorter than a row of its journal's schema.")
        fixed = np.frombuffer(b"".join(payload[:size] for payload in payloads), dtype=self._slots)
        nulls = np.unpackbits(fixed["nulls"], axis=1, bitorder="little").astype(np.bool_)
        texts = self._texts(payloads, fixed)
        arrays = []
        for i, field in enumerate(self.schema):
            mask = np.ascontiguousarray(nulls[:, i])
            if field.type == pa.string():
                found = next(texts)
                arrays.append(
                    pa.array([None if m else t for m, t in zip(mask, found, strict=True)], pa.string())
                )
                continue
            values = np.ascontiguousarray(fixed[f"c{i}"])
            array = pa.array(values, mask=mask, from_pandas=False)
            arrays.append(array.view(TIMESTAMP) if field.type == TIMESTAMP else array)
        return pa.table(arrays, schema=self.schema)

    def _texts(self, payloads: Sequence[bytes], fixed: npt.NDArray[np.void]) -> Iterator[list[str]]:
        start = np.full(len(payloads), self._fixed.size, dtype=np.int64)
        for i, code in enumerate(self._codes):
            if code == "I":
                end = start + fixed[f"c{i}"]
                yield [p[a:b].decode() for p, a, b in zip(payloads, start, end, strict=True)]
                start = end

    def _misfit(self, row: Sequence[object]) -> str:
        """Name the first column that is wrong; never its value, which may be personal."""
        if len(row) != len(self._codes):
            return f"{len(row)} values for {len(self._codes)} columns"
        for field, value in zip(self.schema, row, strict=True):
            if not _fits(field, value):
                return f"'{field.name}' must be {field.type}, not {type(value).__name__}"
        return "text that is not valid Unicode"


def _fits(field: pa.Field, value: object) -> bool:
    if value is None:
        return bool(field.nullable)
    if field.type == pa.string():
        return isinstance(value, str)
    if field.type == pa.bool_():
        return isinstance(value, bool)
    try:
        struct.pack(_SLOTS[field.type][0], value)
    except (struct.error, OverflowError):
        return False
    return True


def frame(payload: bytes) -> bytes:
    """Put length and checksum before a payload."""
    length = len(payload)
    # The length is part of the checksum, so a tail of zeros is not a valid empty record.
    return _FRAME.pack(length, zlib.crc32(payload, zlib.crc32(_LENGTH.pack(length)))) + payload


class JournalWriter:
    """An open journal. It holds a lock on its file while it lives, so that no one seals under it."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self.broken = False
        header = MAGIC + frame(schema.serialize().to_pybytes())
        # Written aside, locked and renamed: under its own name a journal always has its schema.
        staged = path.with_name(f".{path.name}")
        self._descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write_all(self._descriptor, header)
            staged.rename(path)
        except OSError:
            staged.unlink(missing_ok=True)
            os.close(self._descriptor)
            raise
        self.size = len(header)

    def append(self, frames: bytes) -> None:
        """Append whole frames with one ``write``; on failure none of them stays.

        Raises
        ------
        OSError
            If the disk takes no more; ``broken`` is set when the partial frame could not be cut off.
        """
        try:
            _write_all(self._descriptor, frames)
        except OSError:
            self._cut_to(self.size)
            raise
        self.size += len(frames)

    def sync(self) -> None:
        """Make everything written so far survive a power cut; safe beside ``append`` and ``close``."""
        os.fdatasync(self._descriptor)

    def duplicate(self) -> int:
        """Return a second descriptor of the file, to sync while this one may be closed."""
        return os.dup(self._descriptor)

    def close(self) -> None:
        """Sync, and let go of the file and its lock."""
        try:
            self.sync()
        finally:
            os.close(self._descriptor)

    def _cut_to(self, size: int) -> None:
        # A half-written frame in the middle would hide every later one from readers.
        try:
            os.ftruncate(self._descriptor, size)
        except OSError:
            self.broken = True


def _write_all(descriptor: int, content: bytes) -> None:
    written = os.write(descriptor, content)
    while written < len(content):
        # A short write is how a file system says 'nearly full'; the next one names the reason.
        written += os.write(descriptor, content[written:])


@dataclass(frozen=True)
class Journal:
    """What one journal file holds: its schema, its whole records, and the bytes after them."""

    schema: pa.Schema | None
    payloads: tuple[bytes, ...]
    torn_bytes: int

    def table(self) -> pa.Table | None:
        """Decode the rows; none where not even the schema is whole."""
        return None if self.schema is None else RowCodec(self.schema).decode(self.payloads)


def read_journal(path: Path) -> Journal:
    """Read every whole record of a journal; a torn tail is counted, never an error.

    Raises
    ------
    LogError
        If the file is no journal at all.
    """
    content = path.read_bytes()
    if not content.startswith(MAGIC):
        if MAGIC.startswith(content[: len(MAGIC)]) or not content.strip(b"\0"):
            return Journal(None, (), len(content))
        raise LogError(f"{path} is not a journal of the prediction log. Move it away.")
    payloads = tuple(_whole_frames(content))
    read = len(MAGIC) + sum(_FRAME.size + len(payload) for payload in payloads)
    if not payloads:
        return Journal(None, (), len(content))
    schema = pa.ipc.read_schema(pa.py_buffer(payloads[0]))
    return Journal(schema, payloads[1:], len(content) - read)


def find_record(path: Path, first_text: str) -> pa.Table | None:
    """Return the row whose first text is this, without decoding any other; none if there is none."""
    content = path.read_bytes()
    if (head := _whole_frame(content, len(MAGIC))) is None:
        return None
    codec = RowCodec(pa.ipc.read_schema(pa.py_buffer(head)))
    wanted, found = first_text.encode(), -1
    while (found := content.find(wanted, found + 1)) >= 0:
        payload = _whole_frame(content, found - codec.fixed_bytes - _FRAME.size)
        if payload is not None:
            table = codec.decode([payload])
            first = next(field.name for field in codec.schema if field.type == pa.string())
            if table[first][0].as_py() == first_text:
                return table
    return None


def _whole_frames(content: bytes) -> Iterable[bytes]:
    position = len(MAGIC)
    while (payload := _whole_frame(content, position)) is not None:
        yield payload
        position += _FRAME.size + len(payload)


def _whole_frame(content: bytes, position: int) -> bytes | None:
    if position < len(MAGIC) or position + _FRAME.size > len(content):
        return None
    length, checksum = _FRAME.unpack_from(content, position)
    payload = content[position + _FRAME.size : position + _FRAME.size + length]
    head = zlib.crc32(content[position : position + _LENGTH.size])
    return payload if len(payload) == length and zlib.crc32(payload, head) == checksum else None
