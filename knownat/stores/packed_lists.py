"""The answer to many entity rows as Python values: every view's rows decoded once, then given to each row."""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from knownat.contract.read_plan import ReadResult, Status
from knownat.stores.found_rows import FoundRows
from knownat.stores.key_columns import Indices
from knownat.stores.plan_questions import Question
from knownat.stores.planned_view import PRESENT, STATUS, PlannedView, States, states_of


def result_of(
    views: Sequence[PlannedView], question: Question, answer: Sequence[bytes | None], now_us: int
) -> ReadResult:
    """Check, decode and hand out what was found under the keys of a question.

    Raises
    ------
    CorruptRow, UnknownSchema, SchemaMismatch
        If a row is not what this reader can take; no value is made up.
    """
    found = FoundRows([view.rows for view in views], question, answer)
    states = states_of(views, found, now_us)
    result = ReadResult({}, {}, {}, {})
    for number, view in enumerate(views):
        part, name = found.part(number), view.plan.name
        numbers = None if states is None else states[part]
        give = _giver(found.picks(number))
        columns = _columns(found, number, view, numbers)
        result.values.update(zip(view.columns, map(give, columns), strict=True))
        event_us, created_us = found.times[:, part].tolist()
        result.event_us[name], result.created_us[name] = give(event_us), give(created_us)
        named = [Status.PRESENT] * (part.stop - part.start)
        if numbers is not None:
            named = [STATUS[state] for state in numbers.tolist()]
        result.status[name] = give(named, Status.NOT_FOUND)
    return result


def _columns(found: FoundRows, number: int, view: PlannedView, states: States | None) -> list[list[object]]:
    """Decode the found rows of the view of this number to values, null where a row may not be served."""
    part = found.part(number)
    columns: list[list[object]] = [[] for _ in view.columns]
    for section in found.sections(number):
        decoded = section.decoder.columns(section.rows, section.records, section.nulls)
        if isinstance(section.places, slice):
            columns = decoded
            continue
        columns = [column or [None] * (part.stop - part.start) for column in columns]
        for column, values in zip(columns, decoded, strict=True):
            for place, value in zip(section.places.tolist(), values, strict=True):
                column[place] = value
    if states is not None and (states != PRESENT).any():
        alive = (states == PRESENT).tolist()
        columns = [[v if a else None for v, a in zip(vs, alive, strict=True)] for vs in columns]
    return columns


def _giver(picks: Indices | None) -> Callable[..., list[Any]]:
    """Return what gives every entity row the value it gets, or nothing."""
    if picks is None:
        return lambda values, _nothing=None: values
    if len(picks) < 2:
        places = picks.tolist()
        return lambda values, nothing=None: [nothing if at < 0 else values[at] for at in places]
    pick = itemgetter(*picks.tolist())
    # Behind the last value stands the answer to none, which a pick of -1 gets.
    return lambda values, nothing=None: list(pick([*values, nothing]))
