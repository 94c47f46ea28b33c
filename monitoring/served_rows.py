"""What n predictions were served of one view, beside what lies offline: the evidence of a skew."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl
import polars.selectors as cs

from knownat.contract.read_plan import PlanView, Status
from knownat.stores.tables import CREATED_US, EVENT_US, VISIBLE_US
from monitoring.equality import Marks

Times = npt.NDArray[np.int64]
NEVER = int(np.iinfo(np.int64).min)
"""No time: of a row that was not there."""
NOT_YET = int(np.iinfo(np.int64).max)

_ROW, _AT = "__row", "__at"
_FEWEST, _MOST = 20, 0.5
_TELLING = 0.9
"""Rows tell entities apart where so many of them are distinct."""

Key = tuple[object, ...]


@dataclass(frozen=True)
class Answers:
    """One view's part in n predictions: what became of its row, which row it was, and its values."""

    status: npt.NDArray[np.str_]
    event_us: Times
    created_us: Times
    values: pl.DataFrame

    @property
    def found(self) -> Marks:
        """Where there is a row, be it expired."""
        return np.asarray(self.event_us != NEVER)

    @property
    def present(self) -> Marks:
        """Where there is a row that counts."""
        return np.asarray(np.isin(self.status, [Status.PRESENT.value, Status.LAST_KNOWN.value]))

    @property
    def visible_us(self) -> Times:
        """From when each row can be known."""
        return np.maximum(self.event_us, self.created_us)


@dataclass(frozen=True)
class ViewCase:
    """All there is to know of one view in n predictions.

    ``truth`` is the row that training would find at each question. ``rows`` are all offline rows of
    the entities that were asked for; ``find_elsewhere`` reads those of any entity that have the event
    time of a served row. Both come with the view's keys, features and times.
    """

    view: PlanView
    keys: pl.DataFrame
    asked_us: Times
    served: Answers
    truth: Answers
    rows: pl.DataFrame
    find_elsewhere: Callable[[], pl.DataFrame]
    said_us: Times | None = None
    """Up to when rows are said to have been written at each question."""

    def __len__(self) -> int:
        return len(self.asked_us)

    @cached_property
    def elsewhere(self) -> pl.DataFrame:
        """Rows of any entity that have both times of a served row."""
        times = self._identities().select(EVENT_US, CREATED_US).unique()
        return self.find_elsewhere().join(times, on=[EVENT_US, CREATED_US], how="semi")

    @cached_property
    def own(self) -> Times:
        """Where among the rows the served one lies, by its key and both times; -1 if nowhere."""
        at = np.full(len(self), -1, dtype=np.int64)
        on = [*self.keys.columns, EVENT_US, CREATED_US]
        met = self._identities().join(self.rows.select(on).with_row_index(_AT), on=on, how="inner")
        last = met.group_by(_ROW).agg(pl.col(_AT).max())
        at[last[_ROW].to_numpy()] = last[_AT].to_numpy()
        return at

    @cached_property
    def same_event(self) -> Marks:
        """Whether the entity has an offline row of the served one's event time."""
        marks = np.zeros(len(self), dtype=np.bool_)
        on = [*self.keys.columns, EVENT_US]
        marks[self._identities().join(self.rows.select(on), on=on, how="semi")[_ROW].to_numpy()] = True
        return marks

    @cached_property
    def first_visible_us(self) -> Times:
        """From when the entity had any row at all."""
        keys = self.keys.columns
        first = self.rows.group_by(keys or pl.lit(0)).agg(pl.col(VISIBLE_US).min())
        numbers = pl.DataFrame({_ROW: np.arange(len(self)), **self._key_columns()})
        joined = numbers.join(first, on=keys, how="left") if keys else numbers.join(first, how="cross")
        found = np.full(len(self), NOT_YET)
        found[joined[_ROW].to_numpy()] = joined[VISIBLE_US].fill_null(NOT_YET).to_numpy()
        return found

    @cached_property
    def proven_us(self) -> Times:
        """Up to when rows had been written at each question, as far as what was served proves it.

        A row of any entity that was served by then proves that its time had been written.
        """
        counts = self.served.present & (self.served.visible_us <= self.asked_us)
        order = np.argsort(self.asked_us, kind="stable")
        newest = np.maximum.accumulate(np.where(counts, self.served.visible_us, NEVER)[order])
        # Questions of one instant prove something of each other.
        last = np.searchsorted(self.asked_us[order], self.asked_us, side="right") - 1
        proven = np.asarray(newest[last])
        if self.said_us is not None and self._is_likely(self.said_us):
            return np.asarray(np.maximum(proven, self.said_us))
        return proven

    def _is_likely(self, said_us: Times) -> bool:
        """Whether most of the rows that were only just written, if what is said is so, were served."""
        since = said_us - self.truth.visible_us
        places = np.flatnonzero(self.truth.found & (since >= 0))
        places = places[np.argsort(since[places], kind="stable")]
        newest = places[: max(_FEWEST, len(places) // 10)]
        right = self.served.event_us[newest] == self.truth.event_us[newest]
        return len(newest) >= _FEWEST and float(right.mean()) > _MOST

    def twins(self, suspects: Iterable[int]) -> set[int]:
        """Find those whose values are those of a row of the same key and times, one of several."""
        bearers = self._bearers(list(suspects), self.rows, by=self._names)
        return {at for at, others in bearers if self._key(at) in others}

    def strangers(self, suspects: Iterable[int], *, by: Sequence[str]) -> set[int]:
        """Find those whose values of some features are those of another entity's row of the same times.

        Only where rows tell entities apart: of values that many share, a match says nothing.
        """
        places = list(suspects)
        if not places or not by:
            return set()
        apart = self.elsewhere.select(EVENT_US, CREATED_US, *by).n_unique()
        if apart < _TELLING * self.elsewhere.height:
            return set()
        bearers = self._bearers(places, self.elsewhere, by=by)
        return {at for at, others in bearers if others - {self._key(at)}}

    def _bearers(
        self, places: list[int], rows: pl.DataFrame, *, by: Sequence[str]
    ) -> Iterable[tuple[int, set[Key]]]:
        """Give for each place the keys of the rows that have its served times and values."""
        times = self._identities().select(EVENT_US, CREATED_US)[places]
        near = rows.join(times.unique(), on=[EVENT_US, CREATED_US], how="semi")
        keys = near.select(self.keys.columns).rows() if self.keys.width else [()] * near.height
        whens = near.select(EVENT_US, CREATED_US).rows()
        bearers: dict[Key, set[Key]] = {}
        for key, when, what in zip(keys, whens, _contents(near, by), strict=True):
            bearers.setdefault((*when, *what), set()).add(key)
        served = _contents(self.served.values[places], by)
        for at, when, what in zip(places, times.rows(), served, strict=True):
            yield at, bearers.get((*when, *what), set())

    @property
    def _names(self) -> list[str]:
        return [feature.name for feature in self.view.features]

    def _key(self, at: int) -> Key:
        return self.keys.row(at) if self.keys.width else ()

    def _identities(self) -> pl.DataFrame:
        return pl.DataFrame(
            {
                _ROW: np.arange(len(self)),
                **self._key_columns(),
                EVENT_US: self.served.event_us,
                CREATED_US: self.served.created_us,
            }
        )

    def _key_columns(self) -> dict[str, pl.Series]:
        return {column.name: column for column in self.keys}


def _contents(rows: pl.DataFrame, names: Sequence[str]) -> list[Key]:
    """Values of each row as Python has them, where 3 is 3.0; a NaN is a null."""
    return rows.select(cs.float().fill_nan(None), cs.exclude(cs.float())).select(names).rows()
