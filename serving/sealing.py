"""Turn a finished journal into a Parquet segment, so that a crash at any point loses and repeats nothing."""

import fcntl
import logging
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from knownat.contract.journal import read_journal
from knownat.contract.log_reader import TORN_BYTES, journals_in, segment_of

_logger = logging.getLogger(__name__)


def seal_journal(path: Path) -> Path | None:
    """Replace a journal by its segment; return it, or none where there is nothing to seal.

    A journal whose writer lives is left alone. One with a torn tail is kept aside as ``torn-*.bin``,
    since its bytes may be evidence; the segment carries their count.

    Raises
    ------
    OSError
        If the disk takes no segment; the journal then stays as it is.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another sealer may have been done between our look and our lock.
        return _seal_locked(path) if os.fstat(descriptor).st_nlink else None
    except BlockingIOError:
        return None
    finally:
        os.close(descriptor)


def seal_orphans(folder: Path) -> list[Path]:
    """Seal every journal of a folder whose writer is gone.

    Raises
    ------
    OSError
        If the disk takes no segment; the journals then stay as they are.
    """
    return [sealed for path in journals_in(folder) if (sealed := seal_journal(path)) is not None]


def _seal_locked(path: Path) -> Path | None:
    segment, journal = segment_of(path), read_journal(path)
    table = journal.table()
    worth_keeping = table is not None and (len(table) > 0 or journal.torn_bytes > 0)
    # After a crash between rename and removal the segment is there already, and whole.
    if table is not None and worth_keeping and not segment.exists():
        _write_segment(segment, table, journal.torn_bytes)
    if journal.torn_bytes:
        _logger.warning("%s: %d bytes of a torn tail are kept aside", path, journal.torn_bytes)
        path.rename(path.with_name(path.name.replace("journal-", "torn-", 1)))
    else:
        path.unlink()
    return segment if worth_keeping else None


def _write_segment(segment: Path, table: pa.Table, torn_bytes: int) -> None:
    staged = segment.with_name(f".{segment.name}")
    table = table.replace_schema_metadata({TORN_BYTES: str(torn_bytes)})
    try:
        with staged.open("wb") as file:
            pq.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        staged.rename(segment)
    finally:
        # On a full disk half a segment would only take what is left.
        staged.unlink(missing_ok=True)
    _sync_folder(segment.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
