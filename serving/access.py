"""Who may call: a key's hash, its scope, its time and its rate, looked at before anything of a request."""

import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from knownat.clock import Clock, to_us
from knownat.errors import ConfigError
from serving.errors import Forbidden, TooManyRequests, Unauthenticated
from serving.keys import ApiKey, Scope, hash_of, read_keys

_logger = logging.getLogger(__name__)

Headers = Iterable[tuple[bytes, bytes]]

_ALWAYS = 1 << 63


class _Door(NamedTuple):
    """What one key opens, and until when."""

    id: str
    scopes: frozenset[Scope]
    until_us: int
    requests_per_second: float | None

    @classmethod
    def of(cls, key: ApiKey) -> "_Door":
        until_us = _ALWAYS if key.not_after is None else to_us(key.not_after)
        return cls(key.id, key.scopes, until_us if key.revoked_at is None else 0, key.requests_per_second)


class Access:
    """The keys of one installation, read again when their file changes; without a file everyone may call.

    A key is looked up by its hash. How long that takes may tell of the hash, and from a hash no key is found.
    """

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._stamp: tuple[int, int] | None = None
        self._doors: Mapping[str, _Door] = {}
        self._spent: dict[str, tuple[int, float]] = {}
        self.problem: str | None = None
        """Why the file, as it is now, was not taken."""
        self.refresh()
        if path is not None and not self.usable_keys():
            raise ConfigError(path, [self.problem or "holds no key that is good now; knownat keys add"])

    @property
    def keyed(self) -> bool:
        """Whether a key is asked for at all."""
        return self._path is not None

    def usable_keys(self) -> int:
        """Count the keys that open something now."""
        now_us = self._clock.now_us()
        return sum(now_us < door.until_us for door in self._doors.values())

    def refresh(self) -> bool:
        """Read the keys again if their file changed; return whether it had.

        A file that is gone or broken changes nothing: who could call still can, and nobody else.
        """
        if self._path is None or (stamp := _stamp(self._path)) == self._stamp:
            return False
        self._stamp = stamp
        self.problem = self._take(self._path)
        if self.problem is not None:
            _logger.warning("%s: %s; the keys before it still hold.", self._path, self.problem)
        return True

    def _take(self, path: Path) -> str | None:
        try:
            ring = read_keys(path)
        except ConfigError as error:
            return "; ".join(error.problems)
        if not ring.keys:
            return "it holds no keys, or is not there any more"
        self._doors = {key.sha256: _Door.of(key) for key in ring.keys}
        return None

    def admit(self, headers: Headers, scope: Scope) -> None:
        """Let a request pass.

        Raises
        ------
        Unauthenticated
            If it carries no key, or none that is good now; it is not said which.
        Forbidden
            If its key has another scope.
        TooManyRequests
            If its key has asked enough in this second.
        """
        if self._path is None:
            return
        door = self._doors.get(hash_of(_key_in(headers)))
        if door is None or self._clock.now_us() >= door.until_us:
            raise Unauthenticated("This needs a key that is good: 'Authorization: Bearer KEY'.")
        if scope not in door.scopes:
            raise Forbidden(f"This key may not do this; it needs the scope '{scope}'.")
        if door.requests_per_second is not None:
            self._spend(door.id, door.requests_per_second)

    def _spend(self, identity: str, most: float) -> None:
        second = time.monotonic_ns() // 1_000_000_000
        before, spent = self._spent.get(identity, (second, 0.0))
        # What is over a whole number is carried, so that half a request a second is one in two.
        spent = spent + 1 if before == second else max(0.0, spent - most * (second - before)) + 1
        if spent > max(most, 1.0):
            raise TooManyRequests(f"This key may ask {most:g} times a second. Ask again later.")
        self._spent[identity] = (second, spent)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    # Replaced by rename, so a new content has a new inode even within one tick of the clock.
    return (found.st_mtime_ns, found.st_ino)


def _key_in(headers: Headers) -> bytes:
    for name, value in headers:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].strip()
        if name == b"x-api-key":
            return value
    return b""
