"""Turn a finished journal into a Parquet segment, so that a crash at any point loses and repeats nothing.

``python -m serving.sealing JOURNAL`` does it in a process of its own, which a scorer asks for where the
journal is long: to decode it takes seconds of the interpreter's lock, and memory that Arrow keeps.
"""

import fcntl
import logging
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from knownat.contract.journal import read_journal
from knownat.contract.log_reader import TORN_BYTES, journals_in, segment_of
from knownat.errors import LogError
from serving.lean import keep_out, stay_lean

_logger = logging.getLogger(__name__)

# So short a journal is sealed in a few milliseconds; a process takes half a second.
_SHORT_BYTES = 1 << 18
_SEAL_SECONDS = 600
_BEHIND_ANSWERS = 10


def seal_beside(path: Path) -> None:
    """Seal a journal as :func:`seal_journal` does; where it is long, without holding up this process.

    Raises
    ------
    OSError
        If the disk takes no segment; the journal then stays as it is.
    LogError
        If the process that was to seal it failed; its last words come along.
    """
    try:
        short = path.stat().st_size <= _SHORT_BYTES
    except FileNotFoundError:
        return
    if short:
        seal_journal(path)
        return
    command = [sys.executable, "-m", "serving.sealing", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SEAL_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise LogError(f"{path} was not sealed within {_SEAL_SECONDS} s.") from error
    if done.returncode:
        words = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        raise LogError(f"{path} was not sealed: {words[-1]}")


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


def seal_orphans_beside(folder: Path) -> None:
    """Seal every journal of a folder whose writer is gone, long ones without holding up this process.

    Raises
    ------
    OSError, LogError
        If one could not be sealed; it and those after it stay as they are.
    """
    for path in journals_in(folder):
        seal_beside(path)


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


def _main() -> None:
    stay_lean()
    keep_out("pandas")
    # Answers are waited for; segments are not.
    os.nice(_BEHIND_ANSWERS)
    seal_journal(Path(sys.argv[1]))


if __name__ == "__main__":
    _main()
