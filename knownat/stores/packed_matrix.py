"""The answer to many entity rows as arrays: every view's rows decoded once, then laid out for each row."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from knownat.stores.found_rows import FoundRows
from knownat.stores.plan_questions import Question
from knownat.stores.planned_view import NO_TIME, NOT_FOUND, PRESENT, PlannedView, States, states_of

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FeatureMatrix:
    """Many entity rows as read: ``values`` is (rows, columns), the rest (views, rows).

    Null is NaN. A view without a row has the time ``NO_TIME``.
    """

    values: npt.NDArray[np.float64]
    event_us: npt.NDArray[np.int64]
    created_us: npt.NDArray[np.int64]
    status: npt.NDArray[np.uint8]


def matrix_of(
    views: Sequence[PlannedView], question: Question, answer: Sequence[bytes | None], now_us: int
) -> FeatureMatrix:
    """Check, decode and lay out what was found under the keys of a question.

    Raises
    ------
    CorruptRow, UnknownSchema, SchemaMismatch
        If a row is not what this reader can take; no value is made up.
    """
    found = FoundRows([view.rows for view in views], question, answer)
    states = states_of(views, found, now_us)
    values = np.empty((question.count, sum(len(view.columns) for view in views)))
    column = 0
    for number, view in enumerate(views):
        last = column + len(view.columns)
        _fill(values[:, column:last], number, view, found, states)
        column = last
    shape = len(views), question.count
    if found.places is None and all(asked.wants is None for asked in question.asked):
        # Every entity row has its own row in every view, in their order.
        event_us, created_us = found.times.reshape(2, *shape)
        own = np.full(shape, PRESENT, dtype=np.uint8) if states is None else states.reshape(shape)
        return FeatureMatrix(values, event_us, created_us, own)
    # Behind the last key stands the answer to no key at all.
    last = question.ends[-1]
    times = np.full((2, last + 1), NO_TIME, dtype=np.int64)
    status = np.full(last + 1, NOT_FOUND, dtype=np.uint8)
    places = slice(last) if found.places is None else found.places
    times[:, places] = found.times
    status[places] = PRESENT if states is None else states
    picks = question.picks
    event_us, created_us = times.take(picks, axis=1)
    return FeatureMatrix(values, event_us, created_us, status.take(picks))


def _fill(out: Values, number: int, view: PlannedView, found: FoundRows, states: States | None) -> None:
    """Lay the values of the view of this number out for every entity row."""
    picks, part = found.picks(number), found.part(number)
    rows = part.stop - part.start
    # Behind the last row stands the answer to none, which a pick of -1 gets.
    each = out if picks is None else np.empty((rows + 1, out.shape[1]))
    for section in found.sections(number):
        whole = isinstance(section.places, slice)
        values = each[:rows] if whole else np.empty((len(section.rows), out.shape[1]))
        section.decoder.fill_matrix(section.rows, section.records, values, view.codes, section.nulls)
        if not whole:
            each[section.places] = values
    if states is not None:
        each[:rows][states[part] != PRESENT] = np.nan
    if picks is not None:
        each[rows] = np.nan
        out[:] = each.take(picks, axis=0)
