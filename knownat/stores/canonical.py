"""The canonical bytes of a row: the last word when two rows of a key have the same two times.

Comparing these bytes orders rows the same way in every engine and store, whatever order the rows
arrived in. A row is its view's features in order of their names, never only those a reader asked
for, so reading fewer columns cannot change which row wins.

====================  =========================================================================
value                 bytes
====================  =========================================================================
null                  ``00``: lower than any value
anything else         ``01``, then:
boolean               ``00`` or ``01``
integer, any width    value + 2^63, nine bytes, big-endian
float, any width      IEEE 754 double in total order, eight bytes; -0.0 as 0.0; NaN greatest
text, bytes           UTF-8 with each ``00`` as ``00 FF``, then ``00 00``
time, date            microseconds (days for a date), as an integer
duration              microseconds, as an integer
list                  its items as above, then ``00 00`` (an item begins with ``01``)
====================  =========================================================================
"""

import math
import struct
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SIGN = 1 << 63


def canonical_bytes(values: Sequence[object]) -> bytes:
    """Encode a row's values, given in order of their names.

    >>> canonical_bytes([None]) < canonical_bytes([False]) < canonical_bytes([True])
    True
    >>> canonical_bytes([-2]) < canonical_bytes([10])
    True

    Raises
    ------
    TypeError
        If a value is of a type that has no canonical bytes.
    """
    return b"".join(_encode(value) for value in values)


def _encode(value: object) -> bytes:
    return b"\0" if value is None else b"\1" + _encode_known(value)


def _encode_known(value: object) -> bytes:
    if isinstance(value, bool):
        return bytes([value])
    if isinstance(value, int):
        return (value + _SIGN).to_bytes(9, "big")
    if isinstance(value, float):
        return _encode_float(value)
    if isinstance(value, str | bytes):
        return _encode_text(value.encode("utf-8") if isinstance(value, str) else value)
    if isinstance(value, Sequence):
        return b"".join(b"\1" + _encode(item) for item in value) + b"\0\0"
    return _encode_known(_as_integer(value))


def _as_integer(value: object) -> int:
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return (aware - _EPOCH) // _MICROSECOND
    if isinstance(value, date):
        return value.toordinal() - _EPOCH.toordinal()
    if isinstance(value, timedelta):
        return value // _MICROSECOND
    raise TypeError(f"a {type(value).__name__} has no canonical bytes")


def _encode_float(value: float) -> bytes:
    if math.isnan(value):
        return b"\xff" * 8
    # Adding zero turns -0.0 into 0.0; flipping the sign (or every bit below zero) makes the
    # bits of IEEE doubles compare like their values.
    (bits,) = struct.unpack(">Q", struct.pack(">d", value + 0.0))
    return struct.pack(">Q", bits ^ (0xFFFF_FFFF_FFFF_FFFF if bits & _SIGN else _SIGN))


def _encode_text(value: bytes) -> bytes:
    return value.replace(b"\0", b"\0\xff") + b"\0\0"
