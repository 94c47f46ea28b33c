"""Write the prediction log: every answered row is in a journal before its answer leaves, or is counted.

``accepted = written + dropped`` holds at every instant another thread can look. A disk that takes no
more never stops the scorer; it stops the log, by name.
"""

import errno
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pyarrow as pa

from knownat.contract.journal import JournalWriter, RowCodec, frame
from knownat.contract.log_reader import LABELS, journal_path
from knownat.contract.prediction_log import LABEL_SCHEMA
from knownat.errors import LogError
from serving.sealing import seal_beside, seal_orphans_beside

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_MISFIT = "schema"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Counts:
    """Rows given to a log, rows in it, and rows lost by reason."""

    accepted: int = 0
    written: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)


class RowLog:
    """The rows of one schema, in journals that rotate; safe to use from several threads."""

    def __init__(self, folder: Path, schema: pa.Schema, *, writer: str, max_bytes: int) -> None:
        self.folder = folder
        self._codec = RowCodec(schema)
        self._writer = writer
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._journal: JournalWriter | None = None
        self._rotations = 0
        self._opened_at = 0.0
        self._dirty = False
        self._written = 0
        self._dropped: dict[str, int] = {}
        self.finished: list[Path] = []
        """Journals that were rotated out and wait to be sealed."""
        self.problem: str | None = None
        """Why the last append was dropped; none after one that was written."""

    @property
    def counts(self) -> Counts:
        """A consistent snapshot of what became of every row."""
        with self._lock:
            dropped = dict(self._dropped)
            return Counts(self._written + sum(dropped.values()), self._written, dropped)

    def open(self) -> None:
        """Create the first journal; a full disk is only noted.

        Raises
        ------
        LogError
            If the folder cannot be written for another reason than a full disk.
        """
        with self._lock:
            try:
                self._current()
            except OSError as error:
                if error.errno not in _FULL:
                    raise LogError(f"{self.folder} cannot be written: {error.strerror}.") from error
                self.problem = _reason(error)

    def append(self, rows: Sequence[Sequence[object]]) -> str | None:
        """Write rows with one ``write``: all of them, or none and the reason."""
        try:
            frames = b"".join([frame(self._codec.encode(row)) for row in rows])
        except LogError as error:
            return self._refuse(len(rows), error)
        return self._write(frames, len(rows))

    def append_one(self, row: Sequence[object]) -> str | None:
        """Write one row, or give the reason."""
        try:
            framed = frame(self._codec.encode(row))
        except LogError as error:
            return self._refuse(1, error)
        return self._write(framed, 1)

    def append_apart(self, rows: Sequence[Sequence[object]]) -> None:
        """Write rows of several requests with one ``write``; a misfit is dropped without the others."""
        frames = []
        for row in rows:
            try:
                frames.append(frame(self._codec.encode(row)))
            except LogError as error:
                self._refuse(1, error)
        if frames:
            self._write(b"".join(frames), len(frames))

    def sync(self) -> None:
        """Make what was written survive a power cut."""
        with self._lock:
            if self._journal is None or not self._dirty:
                return
            # Synced through a second descriptor, so that appends go on meanwhile.
            descriptor = self._journal.duplicate()
            self._dirty = False
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def rotate(self) -> None:
        """Finish the current journal; the next row opens another."""
        with self._lock:
            self._finish()

    def rest(self, seconds: float) -> None:
        """Finish the current journal if it was begun so long ago: only what is sealed can be taken out."""
        with self._lock:
            if self._journal is not None and time.monotonic() - self._opened_at >= seconds:
                self._finish()

    def _write(self, frames: bytes, rows: int) -> str | None:
        with self._lock:
            try:
                self._current().append(frames)
            except OSError as error:
                return self._drop(rows, _reason(error))
            self._dirty = True
            self._written += rows
            self.problem = None
        return None

    def _refuse(self, rows: int, error: LogError) -> str:
        _logger.warning("%s: %s", self.folder, error)
        with self._lock:
            return self._drop(rows, _MISFIT)

    def _current(self) -> JournalWriter:
        journal = self._journal
        if journal is not None and (journal.broken or journal.size >= self._max_bytes):
            self._finish()
            journal = None
        if journal is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            name = f"{self._writer}-{self._rotations:06d}"
            journal = JournalWriter(journal_path(self.folder, name), self._codec.schema)
            self._rotations += 1
            self._opened_at = time.monotonic()
            self._journal = journal
        return journal

    def _finish(self) -> None:
        if self._journal is not None:
            journal, self._journal = self._journal, None
            self.finished.append(journal.path)
            journal.close()

    def _drop(self, rows: int, reason: str) -> str:
        self._dropped[reason] = self._dropped.get(reason, 0) + rows
        if reason != self.problem:
            _logger.error("%s: rows are dropped: %s", self.folder, reason)
        self.problem = reason
        return reason


class LogBook:
    """Every log of one scorer process, and the thread that syncs, seals and recovers them."""

    def __init__(
        self,
        root: Path,
        *,
        max_bytes: int = 64 << 20,
        max_seconds: float = 86_400.0,
        sync_seconds: float = 1.0,
    ) -> None:
        self.root = root
        self.writer = secrets.token_hex(8)
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._sync_seconds = sync_seconds
        self._predictions: dict[tuple[str, str], RowLog] = {}
        self.labels = self._log(root / LABELS, LABEL_SCHEMA)
        self._stop = threading.Event()
        self._keeper: threading.Thread | None = None

    def predictions(self, model: str, version: str, schema: pa.Schema) -> RowLog:
        """Return the log of one release; it stays open until the book is closed.

        Raises
        ------
        LogError
            If its folder cannot be written for another reason than a full disk.
        """
        log = self._predictions.get((model, version))
        if log is None:
            log = self._log(self.root / model / version, schema)
            log.open()
            self._predictions[model, version] = log
        return log

    def rest(self, busy: Collection[tuple[str, str]]) -> None:
        """Finish the journals of versions that do not serve any more; a late row opens another."""
        for release, log in list(self._predictions.items()):
            if release not in busy:
                _try_to("finish", log.folder, log.rotate)

    def counts(self) -> dict[str, Counts]:
        """Return the counts of every log, by its folder below the root."""
        return {log.folder.relative_to(self.root).as_posix(): log.counts for log in self._logs()}

    def problems(self) -> dict[str, str]:
        """Return why the last row of a log was dropped, for logs where it was."""
        named = {log.folder.relative_to(self.root).as_posix(): log.problem for log in self._logs()}
        return {name: problem for name, problem in named.items() if problem is not None}

    def start(self) -> None:
        """Open the labels' log, and start to sync about once a second and to seal what is finished.

        Raises
        ------
        LogError
            If the log's folder cannot be written for another reason than a full disk.
        """
        self.labels.open()
        self._keeper = threading.Thread(target=self._keep, name="prediction-log", daemon=True)
        self._keeper.start()

    def close(self) -> None:
        """Stop, and seal every journal of this process."""
        self._stop.set()
        if self._keeper is not None:
            self._keeper.join()
        for log in self._logs():
            _try_to("finish", log.folder, log.rotate)
        self._seal_finished()

    def _log(self, folder: Path, schema: pa.Schema) -> RowLog:
        return RowLog(folder, schema, writer=self.writer, max_bytes=self._max_bytes)

    def _logs(self) -> list[RowLog]:
        return [*self._predictions.values(), self.labels]

    def _keep(self) -> None:
        self._recover()
        while not self._stop.wait(self._sync_seconds):
            for log in self._logs():
                _try_to("sync", log.folder, log.sync)
                _try_to("finish", log.folder, partial(log.rest, self._max_seconds))
            self._seal_finished()

    def _recover(self) -> None:
        folders = [path for path in self.root.glob("*/*") if path.is_dir()]
        for folder in (*folders, self.root / LABELS):
            _try_to("seal", folder, partial(seal_orphans_beside, folder))

    def _seal_finished(self) -> None:
        for log in self._logs():
            while log.finished:
                path = log.finished[0]
                if not _try_to("seal", path, partial(seal_beside, path)):
                    break  # It stays a journal, which readers read as well; the next round tries again.
                log.finished.pop(0)


def _reason(error: OSError) -> str:
    """Name an error as the system does: ``ENOSPC``, ``EFBIG``, ``EACCES``."""
    return errno.errorcode.get(error.errno or 0, "unknown")


def _try_to(verb: str, where: Path, action: Callable[[], object]) -> bool:
    """Do upkeep that must not end the keeper: what fails now is tried again, and readers lose nothing."""
    try:
        action()
    except (OSError, LogError) as error:
        _logger.warning("%s: could not %s: %s", where, verb, error)
        return False
    return True
