"""Freed memory: handed back to the system, or kept for who asks next.

The C library keeps what was freed for whoever asks next. After a step of many arrays of one size come
columns of another, which do not fit into the gaps: then both count against this process. Yet a piece of
over 128 KiB it hands back at once, and what lies free at the heap's end as well: one who needs the same few
again and again has them cleared by the system each time, which can take as long as the work itself.
"""

import ctypes

_KEPT = 8 << 20


def hand_back() -> None:
    """Return what the C library has free to the system; nothing where it knows of no such thing."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def keep_some() -> None:
    """Let the C library keep pieces of up to 8 MiB that are freed, and 16 MiB in all.

    Once it has seen a piece of a size go, glibc takes that size for a usual one; other libraries lose
    nothing. The piece is never written to, so it is no memory but an address.
    """
    bytearray(_KEPT)
