"""The rows of the prediction log, laid out once for a release and filled for each answer."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from knownat.contract.prediction_log import Role
from knownat.contract.pseudonyms import Pseudonyms
from knownat.contract.read_plan import ReadPlan, ReadResult
from knownat.errors import LogError
from knownat.stores.packed_read import OneRow

_WHOLE = frozenset({"int64", "int32"})


class Asked(NamedTuple):
    """What the rows of one request share."""

    request_id: str
    logged_us: int
    now_us: int
    role: Role
    elapsed_us: int


@dataclass(frozen=True)
class Answered:
    """What n rows of one request were answered, by row."""

    ids: Sequence[str]
    degraded: Sequence[bool]
    scores: Sequence[float]
    shares: Sequence[Sequence[float]] = ()
    """Of each class, where the model tells several apart."""


class LogRows:
    """Fills rows of one release's log, in the order of :func:`prediction_schema`."""

    def __init__(
        self,
        model: str,
        version: str,
        plan: ReadPlan,
        *,
        pseudonyms: Pseudonyms | None = None,
        pseudonymous: Collection[str] = (),
    ) -> None:
        self._name = (model, version)
        self._pseudonyms = pseudonyms
        self._hidden = [(place, name) for place, name in enumerate(plan.request_keys) if name in pseudonymous]
        self._views = tuple(view.name for view in plan.views)
        self._stored = tuple(view.column(f.name) for view in plan.views for f in view.features)
        outputs = [(t.column(o.name), o.dtype) for t in plan.transforms for o in t.outputs]
        self._made = tuple(name for name, _ in outputs)
        self._whole = [i for i, (_, dtype) in enumerate(outputs) if dtype in _WHOLE]
        self._truths = [i for i, (_, dtype) in enumerate(outputs) if dtype == "bool"]

    def one(
        self,
        asked: Asked,
        answered: tuple[str, bool, float],
        *,
        keys: Iterable[object],
        inputs: Sequence[object],
        row: OneRow,
        made: list[object],
        shares: Sequence[float] = (),
    ) -> list[object]:
        """Lay out one row; ``answered`` is its id, whether it is degraded, and its score.

        ``shares`` are those of each class, where the model tells several apart.
        """
        request_id, logged_us, now_us, role, elapsed_us = asked
        prediction_id, degraded, score = answered
        for place in self._whole:
            made[place] = _integer(made[place])
        for place in self._truths:
            made[place] = _plain(made[place])
        if self._hidden:
            keys = self._hide([[key] for key in keys])
            keys = [column[0] for column in keys]
        served = chain.from_iterable(zip(row.event_us, row.created_us, row.status, strict=True))
        head = (prediction_id, request_id, logged_us, now_us, *self._name, role)
        return [*head, *keys, *inputs, *row.values, *made, *served, degraded, score, elapsed_us, *shares]

    def many(
        self,
        asked: Asked,
        answered: Answered,
        *,
        keys: Mapping[str, Sequence[object]],
        read: ReadResult,
        columns: Mapping[str, Sequence[object]],
        inputs: Sequence[str],
    ) -> list[tuple[object, ...]]:
        """Lay out n rows; ``columns`` holds inputs and on-demand outputs by name."""
        count = len(answered.ids)
        same = (asked.request_id, asked.logged_us, asked.now_us, *self._name, asked.role)
        made: list[Sequence[object]] = [columns[name] for name in self._made]
        for place in self._whole:
            made[place] = list(map(_integer, made[place]))
        for place in self._truths:
            made[place] = list(map(_plain, made[place]))
        parts = (read.event_us, read.created_us, read.status)
        served: list[Sequence[object]] = [part[view] for view in self._views for part in parts]
        laid: list[Sequence[object]] = [
            answered.ids,
            *([value] * count for value in same),
            *(self._hide([*keys.values()]) if self._hidden else keys.values()),
            *(columns[name] for name in inputs),
            *(read.values[name] for name in self._stored),
            *made,
            *served,
            answered.degraded,
            answered.scores,
            [asked.elapsed_us] * count,
            *zip(*answered.shares, strict=True),
        ]
        return list(zip(*laid, strict=True))

    def _hide(self, columns: list[Sequence[object]]) -> list[Sequence[object]]:
        """Put pseudonyms in the place of keys that may name a person."""
        if self._pseudonyms is None:
            raise LogError("Keys are to be pseudonymous, and there is no secret to hash them with.")
        for place, name in self._hidden:
            columns[place] = [self._pseudonyms.of(name, value) for value in columns[place]]
        return columns


def _integer(value: Any) -> object:
    """Undo what an on-demand body makes of integers beside a null: floats, and NaN."""
    plain = _plain(value)
    if type(plain) is float:
        if math.isnan(plain):
            return None
        return int(plain) if plain.is_integer() else plain
    return plain


def _plain(value: Any) -> object:
    return value.item() if hasattr(value, "item") else value
