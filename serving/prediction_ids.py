"""Prediction ids that can be checked without remembering any.

An id is ``<model>.<writer><number>.<tag>``: the process that answered (64 random bits), a running
number, and a keyed hash over both and the model. The key lies beside the log, so every scorer of one
installation knows the ids of all others, also after a restart, and an invented id is told apart
without an index that grows with traffic.
"""

import hmac
import itertools
import os
import secrets
from hashlib import blake2s
from pathlib import Path

from knownat.errors import LogError

KEY_FILE = ".prediction_ids.key"
_KEY_BYTES = 32
_TAG_BYTES = 8


class PredictionIds:
    """Issues ids for one process and recognises those of every process with the same key."""

    def __init__(self, key: bytes, writer: str) -> None:
        # Copied for each id: the key is hashed once.
        self._keyed = blake2s(key=key, digest_size=_TAG_BYTES)
        self._writer = writer
        self._numbers = itertools.count()

    def issue(self, model: str, rows: int) -> list[str]:
        """Make new ids, never the same twice."""
        return [self.issue_one(model) for _ in range(rows)]

    def issue_one(self, model: str) -> str:
        """Make one new id."""
        return self._signed(f"{model}.{self._writer}{next(self._numbers):010x}")

    def knows(self, prediction_id: str) -> bool:
        """Whether the id was issued with this key."""
        if not prediction_id.isascii():
            return False
        body, _, _ = prediction_id.rpartition(".")
        return hmac.compare_digest(self._signed(body), prediction_id)

    def _signed(self, body: str) -> str:
        keyed = self._keyed.copy()
        keyed.update(body.encode("ascii"))
        return f"{body}.{keyed.hexdigest()}"


def open_prediction_ids(root: Path, writer: str) -> PredictionIds:
    """Open the ids of a log, making its key on first use.

    Raises
    ------
    LogError
        If the key can be neither read nor made.
    """
    path = root / KEY_FILE
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make_key(path)
        key = path.read_bytes()
    except OSError as error:
        raise LogError(f"{path} can be neither read nor made: {error.strerror}.") from error
    if len(key) != _KEY_BYTES:
        raise LogError(f"{path} is not a key of {_KEY_BYTES} bytes; restore it, or labels cannot be matched.")
    return PredictionIds(key, writer)


def _make_key(path: Path) -> None:
    staged = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, secrets.token_bytes(_KEY_BYTES))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        # A link fails where a rename would replace: of two scorers that start at once, one key stays.
        path.hardlink_to(staged)
    except FileExistsError:
        pass
    finally:
        staged.unlink()
