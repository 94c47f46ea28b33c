"""Redis's protocol (RESP2): commands as bytes, and bytes as answers; nothing here opens a socket."""

from collections.abc import Sequence
from itertools import groupby

_FEW = 8
_NESTING = 4
_LONGEST_LINE = 65_536
_LONGEST_VALUE = 1 << 30
_VALUE, _LIST, _NUMBER, _TEXT, _REFUSAL = b"$*:+-"


class NotRedis(OSError):
    """What came is no answer of Redis's, or more than was asked for."""


class Incomplete(Exception):
    """The answer's end has not come yet; it cannot before there are ``needed`` bytes in all."""

    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.needed = needed


class ServerError(Exception):
    """Redis refused a command; ``code`` is the first word of what it said."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = text.partition(" ")[0]


def parse(data: bytes | bytearray, at: int = 0, depth: int = 0) -> tuple[object, int]:
    """Read the answer that begins at ``at``; return it and where it ends. What is not a number stays bytes.

    Raises
    ------
    Incomplete
        If more bytes are needed.
    NotRedis
        If no bytes that follow could make it an answer.
    """
    end = data.find(b"\r\n", at)
    if end < 0:
        if len(data) - at > _LONGEST_LINE:
            raise _nonsense()
        raise Incomplete(len(data) + 1)
    kind, line, end = data[at], bytes(data[at + 1 : end]), end + 2
    if kind == _VALUE:
        return _value(data, end, _number(line))
    if kind == _LIST and depth < _NESTING:
        number = _number(line)
        if number == -1:
            return None, end
        items: list[object] = []
        for _ in range(number):
            item, end = parse(data, end, depth + 1)
            items.append(item)
        return items, end
    if kind == _NUMBER:
        return _number(line), end
    if kind == _TEXT:
        return line, end
    if kind == _REFUSAL:
        return ServerError(line.decode("utf-8", "replace")), end
    raise _nonsense()


def _value(data: bytes | bytearray, at: int, size: int) -> tuple[bytes | None, int]:
    if size == -1:
        return None, at
    if not 0 <= size <= _LONGEST_VALUE:
        raise _nonsense()
    end = at + size
    if len(data) < end + 2:
        raise Incomplete(end + 2)
    if data[end : end + 2] != b"\r\n":
        raise _nonsense()
    with memoryview(data) as view:
        return bytes(view[at:end]), end + 2


def _number(text: bytes) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise _nonsense() from error


def _nonsense() -> NotRedis:
    return NotRedis("the answer is not Redis's protocol")


def pack(
    *parts: bytes, keys: Sequence[bytes] = (), prefix: bytes = b"", values: Sequence[bytes] = ()
) -> bytes:
    """Pack one command as Redis reads it: its words, then keys behind a prefix, then values."""
    count = len(parts) + len(keys) + len(values)
    return b"".join((b"*%d\r\n" % count, _strings(parts), _strings(keys, prefix), _strings(values)))


def _strings(parts: Sequence[bytes], prefix: bytes = b"") -> bytes:
    if len(parts) < _FEW:
        return b"".join([b"$%d\r\n%b%b\r\n" % (len(part) + len(prefix), prefix, part) for part in parts])
    # Keys and rows have few lengths, so what stands before each is made once a length.
    heads = {size: b"$%d\r\n%b" % (size + len(prefix), prefix) for size in set(map(len, parts))}
    if len(heads) >= _FEW:
        return b"".join([heads[len(part)] + part + b"\r\n" for part in parts])
    # The keys of one view have one length and stand together: they are joined without a look at each.
    runs = groupby(parts, key=len) if len(heads) > 1 else zip(heads, (parts,), strict=True)
    return b"".join([heads[size] + (b"\r\n" + heads[size]).join(run) + b"\r\n" for size, run in runs])
