"""Entity keys as the prediction log may hold them: a keyed hash instead of the value.

The same key of the same name always gets the same pseudonym, so logged rows still join and group by
entity. Whoever holds the secret can tell which of the entities they know a pseudonym stands for, by
hashing those; the secret alone gives no value back. Without it a guess cannot even be tried.
"""

import os
import re
import stat
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path

from knownat.errors import ConfigError

_LEAST_BYTES = 32
_DIGEST_BYTES = 16
_NAME_BYTES = 4
_PSEUDONYM = re.compile(r"[0-9a-f]{8}:[0-9a-f]{32}")
_PERSON = b"knownat.keys"


class Pseudonyms:
    """Makes pseudonyms with one secret."""

    def __init__(self, secret: bytes) -> None:
        self._key = blake2b(secret, digest_size=32, person=_PERSON).digest()
        self.name = blake2b(b"name", key=self._key, digest_size=_NAME_BYTES).hexdigest()
        """Tells secrets apart and gives none away; every pseudonym begins with it."""

    def of(self, key: str, value: object) -> str | None:
        """Return the pseudonym of one entity key's value; a null stays a null."""
        if value is None:
            return None
        # The type is part of it: 7 and "7" are two entities.
        text = f"{key}\0{type(value).__name__}\0{value}".encode("utf-8", "surrogatepass")
        return f"{self.name}:{blake2b(text, key=self._key, digest_size=_DIGEST_BYTES).hexdigest()}"

    def known(self, key: str, values: Iterable[object]) -> dict[str, object]:
        """Return the values that one knows by their pseudonyms."""
        return {found: value for value in values if (found := self.of(key, value)) is not None}

    def made(self, text: str) -> bool:
        """Whether a logged text is a pseudonym, by whatever secret, and not a key as it is."""
        return _PSEUDONYM.fullmatch(text) is not None

    def strangers(self, pseudonyms: Sequence[str | None]) -> int:
        """Count the pseudonyms that another secret made."""
        return sum(one is not None and not one.startswith(f"{self.name}:") for one in pseudonyms)


def read_pseudonyms(path: Path) -> Pseudonyms:
    """Read a secret from a file of at least 32 characters; white space around it does not count.

    Raises
    ------
    ConfigError
        If it cannot be read, is too short, or everyone may read it; the message holds nothing of it.
    """
    try:
        secret = path.read_bytes().strip()
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigError(path, [f"cannot be read: {error.strerror}"]) from error
    problems = []
    if len(secret) < _LEAST_BYTES:
        problems.append(f"holds {len(secret)} characters, not {_LEAST_BYTES} or more: openssl rand -hex 32")
    if os.name == "posix" and mode & stat.S_IROTH:
        problems.append("everyone on this machine may read it; chmod o-rwx")
    if problems:
        raise ConfigError(path, problems)
    return Pseudonyms(secret)
