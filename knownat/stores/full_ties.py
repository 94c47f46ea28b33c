"""Rows of one entity with the same two times: one stands for all, and gives way to the winner at the end.

Only their values tell such rows apart, and values are the dear part of a table. So they are read
once, and only of the groups that answer a question.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from knownat.stores.inquiry import Numbers

Groups = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]
Settle = Callable[[Numbers, Groups], Flags]
"""Which of these rows win their groups, one in each."""


@dataclass(frozen=True)
class Tied:
    """Rows by number, the group of each, and the row that stands for each group."""

    rows: Numbers
    groups: Groups
    standing: Numbers

    @classmethod
    def none(cls) -> "Tied":
        """No row ties."""
        nobody = np.empty(0, dtype=np.int32)
        return cls(nobody, np.empty(0, dtype=np.intp), nobody)

    @classmethod
    def of(cls, rows: Numbers, equal: Flags) -> "Tied":
        """Group rows that lie beside an ``equal`` one; the last of a group stands for it.

        ``equal`` tells of each row but the first whether it equals the one before it.
        """
        if not equal.any():
            return cls.none()
        tied = np.zeros(len(rows), dtype=np.bool_)
        tied[1:] |= equal
        tied[:-1] |= equal
        numbers = np.concatenate([[0], np.cumsum(~equal)])[tied]
        last = np.append(numbers[1:] != numbers[:-1], True)
        groups = np.cumsum(last) - last
        return cls(rows[tied], groups, rows[tied][last])


class Ties:
    """Tied rows of one range of entities after another."""

    def __init__(self) -> None:
        self._parts: list[Tied] = []
        self._groups = 0

    def add(self, tied: Tied, at: Numbers | None) -> None:
        """Add the ties of a range; ``at`` are the numbers of its rows among all, if it is not all of them."""
        if not len(tied.rows):
            return
        rows, standing = (tied.rows, tied.standing) if at is None else (at[tied.rows], at[tied.standing])
        self._parts.append(Tied(rows, tied.groups + self._groups, standing))
        self._groups += len(standing)

    def settle(self, found: Numbers, count: int, settle: Settle) -> None:
        """Put the winner in place of the row that stands for its group; ``found`` is changed.

        ``count`` is how many rows there are; -1 in ``found`` stays.
        """
        if not self._parts:
            return
        rows, groups, standing = (
            np.concatenate(column)
            for column in zip(*((p.rows, p.groups, p.standing) for p in self._parts), strict=True)
        )
        asked = np.zeros(count + 1, dtype=np.bool_)  # One more, which -1 falls on.
        asked[found] = True
        kept = asked[standing][groups]
        if not kept.any():
            return
        rows, groups = rows[kept], groups[kept]
        wins = settle(rows, groups)
        instead = np.arange(-1, count, dtype=np.int32)
        instead[standing[groups[wins]] + 1] = rows[wins]
        np.take(instead, found + 1, out=found)
