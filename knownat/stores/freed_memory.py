"""Freed memory, handed back to the system.

The C library keeps what was freed for whoever asks next. After a step of many arrays of one size come
columns of another, which do not fit into the gaps: then both count against this process.
"""

import ctypes


def hand_back() -> None:
    """Return what the C library has free to the system; nothing where it knows of no such thing."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
