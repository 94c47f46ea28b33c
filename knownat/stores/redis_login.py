"""Where a Redis is, over what it is reached, and as whom: everything before the first question."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

from knownat.stores.resp import pack

_PORT = 6379
_CHECKS = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
_FALSE = frozenset({"0", "f", "false", "n", "no"})


@dataclass(frozen=True)
class RedisLogin:
    """One Redis as a URL names it (:func:`knownat.stores.redis_address.redis_url` checks the URL)."""

    host: str = "localhost"
    port: int = _PORT
    path: str | None = None
    """Of a socket on this machine, in the place of host and port."""
    database: int = 0
    username: str | None = None
    password: str | None = None
    client_name: str | None = None
    tls: Mapping[str, str] | None = None
    """The ``ssl_`` options where the connection is encrypted."""

    @classmethod
    def at(cls, url: str) -> Self:
        """Read a URL: ``redis://``, ``rediss://`` or ``unix://``, as redis-py reads it."""
        split = urlsplit(url)
        options = dict(parse_qsl(split.query))
        local = split.scheme == "unix"
        database = options.get("db") or ("" if local else split.path.strip("/")) or "0"
        return cls(
            host=unquote(split.hostname or "localhost"),
            port=split.port or _PORT,
            path=unquote(split.path) if local else None,
            database=int(database),
            username=_text(split.username) or options.get("username"),
            password=_text(split.password) or options.get("password"),
            client_name=options.get("client_name"),
            tls={name: value for name, value in options.items() if name.startswith("ssl_")}
            if split.scheme == "rediss"
            else None,
        )

    @property
    def name(self) -> str:
        """What errors call it: no password is in it."""
        return self.path or f"{self.host}:{self.port}"

    def commands(self) -> list[bytes]:
        """Pack what a new connection says first; each is to be answered OK."""
        said = []
        if self.password is not None or self.username is not None:
            names = [] if self.username is None else [self.username]
            said.append(["AUTH", *names, self.password or ""])
        if self.client_name is not None:
            said.append(["CLIENT", "SETNAME", self.client_name])
        if self.database:
            said.append(["SELECT", str(self.database)])
        return [pack(*(word.encode() for word in words)) for words in said]

    def encryption(self) -> ssl.SSLContext | None:
        """Make what encrypts the connection, None where nothing does.

        Raises
        ------
        OSError
            If a file it names cannot be read.
        """
        if self.tls is None:
            return None
        # Without a file of its own the machine's authorities are trusted.
        context = ssl.create_default_context(
            cafile=self.tls.get("ssl_ca_certs"), capath=self.tls.get("ssl_ca_path")
        )
        check = _CHECKS[self.tls.get("ssl_cert_reqs", "required")]
        named = self.tls.get("ssl_check_hostname", "true").lower() not in _FALSE
        context.check_hostname = named and check is not ssl.CERT_NONE
        context.verify_mode = check
        if "ssl_certfile" in self.tls:
            context.load_cert_chain(
                self.tls["ssl_certfile"], self.tls.get("ssl_keyfile"), self.tls.get("ssl_keyfile_password")
            )
        return context


def _text(given: str | None) -> str | None:
    return unquote(given) if given else None
