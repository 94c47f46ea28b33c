"""Where a Redis is, as Feast writes it (``host:port,ssl=true,password=...``) or as a URL, as one URL."""

import json
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from knownat.errors import ConfigError

_PORT = 6379
_URLS = ("redis://", "rediss://", "unix://")
_IN_URL = frozenset(
    {
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_cert_reqs",
        "ssl_certfile",
        "ssl_check_hostname",
        "ssl_keyfile",
        "ssl_keyfile_password",
        "client_name",
    }
)
_CERT_CHECKS = ("required", "optional", "none")
# What the store decides itself: it never retries, speaks one protocol, and has its own time limits.
_OURS = frozenset(
    {"socket_timeout", "socket_connect_timeout", "retry", "retry_on_timeout", "health_check_interval"}
)


def redis_url(text: str) -> str:
    """Return the URL of the one Redis that a connection string names.

    >>> redis_url("cache:6380,db=2,ssl=true,password=p@ss")
    'rediss://:p%40ss@cache:6380/2'
    >>> redis_url("redis://cache")
    'redis://cache'

    Raises
    ------
    ConfigError
        If it names no Redis or several, or an option that has no effect here.
    """
    if "://" in text:
        return _checked_url(text)
    parts = [part.strip() for part in text.split(",")]
    options = dict(_pairs(part for part in parts if "=" in part))
    hosts = [part for part in parts if part and "=" not in part]
    problems = _option_problems(options, known={"db", "ssl", "username", "password"})
    if len(hosts) != 1:
        problems.append(f"names {len(hosts)} servers; one is wanted, as in localhost:{_PORT}")
    if problems:
        raise _wrong(problems)
    user = quote(options.get("username", ""), safe="")
    login = f"{user}:{quote(options['password'], safe='')}@" if "password" in options else ""
    secured = options.get("ssl", "").lower() in ("true", "1", "yes")
    rest = {name: value for name, value in options.items() if name in _IN_URL}
    query = f"?{urlencode(rest)}" if rest else ""
    scheme = "rediss" if secured else "redis"
    return _checked_url(f"{scheme}://{login}{_host(hosts[0])}/{options.get('db', '0')}{query}")


def _host(text: str) -> str:
    # An IPv6 address has colons of its own, and stands in brackets when it has a port.
    bare = text.count(":") > 1 and not text.startswith("[")
    return f"[{text}]" if bare else text


def _pairs(parts: Iterable[str]) -> Iterable[tuple[str, str]]:
    for part in parts:
        name, _, value = part.partition("=")
        yield name.strip(), _text(value)


def _text(value: str) -> str:
    # Feast reads a value as JSON where it is some; only quotes change what is meant.
    try:
        read = json.loads(value)
    except json.JSONDecodeError:
        return value
    return read if isinstance(read, str) else value


def _checked_url(url: str) -> str:
    if not url.startswith(_URLS):
        raise _wrong([f"begins with none of {list(_URLS)}"])
    try:
        split = urlsplit(url)
        host, _ = split.hostname, split.port
    except ValueError as error:
        raise _wrong([f"has no usable host and port: {error}"]) from error
    options = dict(parse_qsl(split.query))
    problems = _option_problems(options, known={"db", "username", "password"})
    if not options.get("db", "0").isdigit():
        problems.append(f"has '{options['db']}' for the number of a database")
    if (check := options.get("ssl_cert_reqs", "required")) not in _CERT_CHECKS:
        problems.append(f"has '{check}' for ssl_cert_reqs; it is one of {list(_CERT_CHECKS)}")
    if split.scheme == "unix" and not split.path:
        problems.append("names no socket's path")
    if split.scheme != "unix" and not host:
        problems.append("names no host")
    if split.scheme != "unix" and split.path.strip("/") and not split.path.strip("/").isdigit():
        problems.append(f"has '{split.path}' for the number of a database")
    if problems:
        raise _wrong(problems)
    kept = [(name, value) for name, value in parse_qsl(split.query) if name not in _OURS]
    return url.partition("?")[0] + (f"?{urlencode(kept)}" if kept else "")


def _option_problems(options: dict[str, str], known: set[str]) -> list[str]:
    unknown = sorted(set(options) - known - _IN_URL - _OURS)
    wanted = sorted({"db", "ssl", "username", "password"} | _IN_URL)
    return [f"has options {unknown} that are not known; there are {wanted}"] if unknown else []


def _wrong(problems: list[str]) -> ConfigError:
    # The string itself may hold a password.
    return ConfigError("feature_store.yaml, online_store.connection_string", problems)
