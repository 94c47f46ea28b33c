"""Packed rows in LMDB: the embedded default, with many reading processes beside one writer.

A batch is one transaction: a reader sees all of it or none, and a killed writer leaves nothing.
Writers of several processes queue. A forked child has to open the folder again.
"""

import errno
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from knownat.errors import OnlineStoreError, StoreFull, StoreUnavailable
from knownat.stores.codec import BIAS, RowSchema, outranks
from knownat.stores.row_keys import ViewName, project_prefix
from knownat.stores.rows import Found, Stored

FIRST_MAP_BYTES = 1 << 30
_MOST_READERS = 1_022
_TABLES = (b"rows", b"schemas", b"watermarks")
# LMDB reports a write that stopped half way, as the last one to fill a disk does, as EIO.
_NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO)
_DELETED_AT_ONCE = 10_000
_SCANNED_AT_ONCE = 1_000
_TIME_BYTES = 8  # Of a watermark; behind it is the shape.

Answer = TypeVar("Answer")


class LmdbRows:
    """One folder of packed rows. Use :func:`open_lmdb`: a process may open a folder only once."""

    waits = False

    def __init__(self, path: Path, *, map_bytes: int, most_map_bytes: int | None) -> None:
        self.path = path
        self._most_map_bytes = most_map_bytes
        # Growing the map moves it, so no transaction of this process may be open. Reads are a few
        # microseconds under one interpreter lock: one more lock costs a read 0.1 us.
        self._map = threading.Lock()
        self._writing = threading.Lock()
        with self._named("opened"):
            self._env = lmdb.open(
                str(path), map_size=map_bytes, max_dbs=len(_TABLES), max_readers=_MOST_READERS
            )
            self._env.reader_check()
            self._rows, self._schemas, self._watermarks = (self._env.open_db(name) for name in _TABLES)

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the rows under these keys, all of one moment; None where there is none."""
        return self._reading(lambda txn: list(map(txn.get, keys)), self._rows)

    async def read_async(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the rows under these keys; memory-mapped reads have nothing to wait for."""
        return self.read(keys)

    def fetch(self, keys: Sequence[bytes], seconds: float, then: Callable[[Found], None]) -> None:
        """Read at once, and hand on what was found."""
        del seconds
        found: Found
        try:
            found = self.read(keys)
        except StoreUnavailable as error:
            found = error
        then(found)

    def schemas(self, view: ViewName) -> dict[bytes, RowSchema]:
        """Return every schema a row of this view may name."""
        found = self._reading(lambda txn: list(_under(txn, view.prefix)), self._schemas)
        return {key[len(view.prefix) :]: RowSchema.parse(text) for key, text in found}

    def watermark(self, view: ViewName) -> int | None:
        """Return the time up to which visible rows are in, in UTC microseconds, or None."""
        found = self._reading(lambda txn: txn.get(view.prefix), self._watermarks)
        return None if found is None else int.from_bytes(found[:_TIME_BYTES], "big") - BIAS

    def shape(self, view: ViewName) -> bytes:
        """Return the shape that was last recorded with a watermark; empty if there was none."""
        found = self._reading(lambda txn: txn.get(view.prefix), self._watermarks)
        return b"" if found is None else bytes(found[_TIME_BYTES:])

    def write(
        self, view: ViewName, schema: RowSchema, keys: Sequence[bytes], rows: Sequence[bytes]
    ) -> Stored:
        """Write one batch in one transaction, newest wins.

        Raises
        ------
        StoreFull
            If the disk is full, or the map may not grow; nothing of the batch was written.
        """
        # In key order, neighbouring rows share the pages that the transaction copies.
        order = sorted(range(len(keys)), key=keys.__getitem__)

        def put(txn: Any) -> int:
            txn.put(view.prefix + schema.identity, schema.text.encode(), db=self._schemas)
            stored = 0
            for i in order:
                old = txn.get(keys[i])
                if old is None or outranks(rows[i], old):
                    txn.put(keys[i], rows[i])
                    stored += 1
            return stored

        stored = self._changing(put)
        return Stored(stored, len(keys) - stored)

    def set_watermark(self, view: ViewName, us: int, *, shape: bytes = b"") -> None:
        """Record the time up to which visible rows are in, which never goes back, and their shape."""
        value = (us + BIAS).to_bytes(_TIME_BYTES, "big")

        def put(txn: Any) -> None:
            old = txn.get(view.prefix, default=b"", db=self._watermarks)
            txn.put(view.prefix, max(value, old[:_TIME_BYTES]) + shape, db=self._watermarks)

        self._changing(put)

    def scan(self, view: ViewName) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key and row of a view, a thousand of one moment at a time."""
        after = view.prefix
        while found := self._reading(partial(_some, prefix=view.prefix, start=after), self._rows):
            yield from found
            after = found[-1][0] + b"\0"

    def delete_view(self, view: ViewName) -> int:
        """Delete a view's rows, schemas, watermark and shape; return how many rows there were."""
        return self._delete(view.prefix)

    def delete_project(self, project: str) -> int:
        """Delete everything of a project; return how many rows there were."""
        return self._delete(project_prefix(project))

    def _delete(self, prefix: bytes) -> int:
        return sum(
            self._drop_all(table, prefix) * (table is self._rows)
            for table in (self._rows, self._schemas, self._watermarks)
        )

    def _drop_all(self, table: Any, prefix: bytes) -> int:
        dropped = 0
        while some := self._changing(partial(_drop, table=table, prefix=prefix)):
            dropped += some
        return dropped

    def dangers(self) -> list[str]:
        """Say what of the store's own settings may cost rows: LMDB keeps all or refuses."""
        return []

    def close(self) -> None:
        """Close the folder for this handle."""
        _release(self)

    def shut(self) -> None:
        """Close the environment itself, for every holder."""
        with self._writing, self._map:
            self._env.close()

    def hold(self) -> None:
        """Wait for whoever reads or writes in this process, and keep others out."""
        self._writing.acquire()
        self._map.acquire()

    def let_go(self) -> None:
        """Let readers and writers in again."""
        self._map.release()
        self._writing.release()

    def _reading(self, ask: Callable[[Any], Answer], table: Any) -> Answer:
        with self._map:
            try:
                with self._env.begin(db=table) as txn:
                    return ask(txn)
            except lmdb.MapResizedError:
                with self._named("read"):
                    self._env.set_mapsize(0)  # Another process let it grow: take the new size over.
                    with self._env.begin(db=table) as txn:
                        return ask(txn)
            except lmdb.Error as error:
                raise self._unusable("read", error) from error

    def _changing(self, change: Callable[[Any], Answer]) -> Answer:
        with self._writing, self._named("written"):
            self._env.reader_check()  # A killed reader would keep every old page from reuse.
            while True:
                try:
                    with self._env.begin(db=self._rows, write=True) as txn:
                        return change(txn)
                except lmdb.MapResizedError:
                    with self._map:
                        self._env.set_mapsize(0)
                except lmdb.MapFullError:
                    self._grow()

    def _grow(self) -> None:
        size = self._env.info()["map_size"] * 2
        if self._most_map_bytes is not None and size > self._most_map_bytes:
            raise StoreFull(
                f"{self.path}: the map of {size // 2} bytes is full and may not grow beyond "
                f"{self._most_map_bytes}; nothing was written. Raise the bound, or delete unread views."
            )
        with self._map:
            self._env.set_mapsize(size)

    @contextmanager
    def _named(self, what: str) -> Iterator[None]:
        try:
            yield
        except lmdb.Error as error:
            raise self._unusable(what, error) from error

    def _unusable(self, what: str, error: lmdb.Error) -> OnlineStoreError:
        if error.code in _NO_ROOM or isinstance(error, lmdb.DiskError):
            return StoreFull(
                f"{self.path}: no room on the disk, or it failed ({error}). Nothing was written; what "
                "was stored is still there. Free some space and write again."
            )
        return StoreUnavailable(f"{self.path} cannot be {what}: {error}. Check the folder.")


def _under(txn: Any, prefix: bytes, start: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
    with txn.cursor() as cursor:
        if cursor.set_range(start or prefix):
            for key, value in cursor:
                if not key.startswith(prefix):
                    return
                yield key, value


def _some(txn: Any, *, prefix: bytes, start: bytes) -> list[tuple[bytes, bytes]]:
    return [item for _, item in zip(range(_SCANNED_AT_ONCE), _under(txn, prefix, start), strict=False)]


def _drop(txn: Any, *, table: Any, prefix: bytes) -> int:
    deleted = 0
    with txn.cursor(db=table) as cursor:
        found = cursor.set_range(prefix)
        while found and deleted < _DELETED_AT_ONCE and cursor.key().startswith(prefix):
            found = cursor.delete()
            deleted += 1
    return deleted


_opened: dict[Path, tuple[LmdbRows, int]] = {}
_opening = threading.Lock()
_watched: list[int] = []


def open_lmdb(path: Path, *, map_bytes: int = FIRST_MAP_BYTES, most_map_bytes: int | None = None) -> LmdbRows:
    """Open, or make, a folder of packed rows; within a process every caller shares one handle.

    The map is address space, not disk: it starts at ``map_bytes`` and doubles when full, up to
    ``most_map_bytes``.

    Raises
    ------
    StoreUnavailable
        If the folder cannot be made or is not LMDB's.
    """
    path = path.expanduser().resolve()
    with _opening:
        _watch_forks()
        if (known := _opened.get(path)) is not None:
            _opened[path] = (known[0], known[1] + 1)
            return known[0]
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(f"{path} cannot be made: {error}.") from error
        rows = LmdbRows(path, map_bytes=map_bytes, most_map_bytes=most_map_bytes)
        _opened[path] = (rows, 1)
        return rows


def _release(rows: LmdbRows) -> None:
    with _opening:
        known, holders = _opened.get(rows.path, (None, 0))
        if known is not rows:
            return
        if holders > 1:
            _opened[rows.path] = (rows, holders - 1)
            return
        del _opened[rows.path]
        rows.shut()


def _watch_forks() -> None:
    """See to it that a forked child has nothing open: a map must not be used across a fork."""
    if not _watched:
        _watched.append(os.getpid())
        os.register_at_fork(before=_hold_all, after_in_parent=_let_go_all, after_in_child=_close_all)


def _hold_all() -> None:
    # Closing a child's copy in the midst of a parent's read would end that read in both.
    _opening.acquire()
    for rows, _ in _opened.values():
        rows.hold()


def _let_go_all() -> None:
    for rows, _ in _opened.values():
        rows.let_go()
    _opening.release()


def _close_all() -> None:
    for rows, _ in _opened.values():
        rows.let_go()
        rows.shut()
    _opened.clear()
    _opening.release()
