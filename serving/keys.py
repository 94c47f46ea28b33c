"""API keys: a file that holds their hashes, what each may do, and until when.

A key is shown once, when it is made. It is 256 random bits, so its plain SHA-256 is as good as a slow
hash: there is no dictionary to try.
"""

import fcntl
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from knownat.clock import from_us
from knownat.errors import ConfigError

KEYS_FILE = "keys.json"
_PREFIX = "kna"


class Scope(StrEnum):
    """What a key may do."""

    PREDICT = "predict"
    EXPLAIN = "explain"
    LABEL = "label"
    FEEDBACK = "feedback"
    PUSH = "push"
    ADMIN = "admin"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ApiKey(_Frozen):
    """One key as it is kept. A caller may have several at once: the next is in use before one ends."""

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: frozenset[Scope]
    created_at: datetime
    not_after: datetime | None = None
    revoked_at: datetime | None = None
    requests_per_second: Annotated[float, Field(gt=0)] | None = None
    """Of one worker; more are refused until the second is over."""

    def usable(self, now_us: int) -> bool:
        """Whether it is neither revoked nor over."""
        return self.revoked_at is None and (self.not_after is None or from_us(now_us) < self.not_after)

    def opened_by(self, text: str) -> bool:
        """Whether this is the key, in the same time for any text."""
        return hmac.compare_digest(hash_of(text.encode("utf-8", "surrogatepass")), self.sha256)


class KeyRing(_Frozen):
    """``keys.json``: every key that was ever made, until it is removed by hand."""

    format: Literal[1] = 1
    keys: tuple[ApiKey, ...] = ()

    def by_id(self) -> dict[str, ApiKey]:
        """Return the keys by their ids."""
        return {key.id: key for key in self.keys}


def hash_of(text: bytes) -> str:
    """Hash a key's text, as the file keeps it."""
    return hashlib.sha256(text).hexdigest()


def read_keys(path: Path) -> KeyRing:
    """Read the keys; an absent file means that there are none.

    Raises
    ------
    ConfigError
        If the file is there but cannot be read as keys; the message holds nothing of them.
    """
    try:
        return KeyRing.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return KeyRing()
    except OSError as error:
        raise ConfigError(path, [f"cannot be read: {error.strerror}"]) from error
    except ValidationError as error:
        places = sorted({".".join(map(str, found["loc"])) for found in error.errors()})
        raise ConfigError(
            path, [f"{place or 'the file'} is not as it was written" for place in places]
        ) from None


def add_key(
    path: Path,
    name: str,
    scopes: frozenset[Scope],
    *,
    now_us: int,
    days: int | None,
    requests_per_second: float | None = None,
) -> tuple[ApiKey, str]:
    """Make a key; its text is returned and kept nowhere.

    Raises
    ------
    ConfigError
        If the name cannot be one, no scope is given, or the file cannot be read or written.
    """
    if not scopes:
        raise ConfigError(path, [f"a key needs a scope; there are {[scope.value for scope in Scope]}"])
    identity = secrets.token_hex(4)
    text = f"{_PREFIX}_{identity}_{secrets.token_urlsafe(32)}"
    now = from_us(now_us)
    try:
        made = ApiKey(
            id=identity,
            name=name,
            sha256=hash_of(text.encode()),
            scopes=scopes,
            created_at=now,
            not_after=None if days is None else now + timedelta(days=days),
            requests_per_second=requests_per_second,
        )
    except ValidationError as error:
        raise ConfigError(path, [str(found["msg"]) for found in error.errors()]) from error
    _change(path, lambda ring: KeyRing(keys=(*ring.keys, made)))
    return made, text


def revoke_key(path: Path, identity: str, *, now_us: int) -> ApiKey:
    """Revoke a key; running scorers refuse it within a second.

    Raises
    ------
    ConfigError
        If there is no such key, or the file cannot be read or written.
    """
    now = from_us(now_us)

    def revoke(ring: KeyRing) -> KeyRing:
        if identity not in ring.by_id():
            raise ConfigError(path, [f"no key '{identity}'; there are {sorted(ring.by_id()) or 'none'}"])
        changed = (
            key.model_copy(update={"revoked_at": key.revoked_at or now}) if key.id == identity else key
            for key in ring.keys
        )
        return KeyRing(keys=tuple(changed))

    return _change(path, revoke).by_id()[identity]


def _change(path: Path, change: Callable[[KeyRing], KeyRing]) -> KeyRing:
    try:
        with _alone(path):
            ring = change(read_keys(path))
            _replace(path, json.dumps(ring.model_dump(mode="json"), indent=2, sort_keys=True) + "\n")
    except OSError as error:
        raise ConfigError(path, [f"cannot be written: {error.strerror}"]) from error
    return ring


def _replace(path: Path, text: str) -> None:
    staged = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    # Hashes open nothing, but who may call what is nobody else's business.
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the one lock of the file: two changes at once must not lose one of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
