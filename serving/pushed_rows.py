"""A push, checked row by row at the door: all of it is written, or nothing and every reason is named."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from knownat.clock import CLOCK_SKEW_US
from knownat.contract.push_plan import PushSource, PushView
from knownat.stores.codec import arrow_type
from serving.errors import BadRequest
from serving.problems import Problems, shown
from serving.pushed_values import take_key, take_value

MAX_ROWS = 10_000
_OPAQUE = "opaque:"


class EarlyPush(BadRequest):
    """Rows claim a time that has not come; nothing of the request was written."""

    code = "early_rows"

    def __init__(self, message: str, details: list[dict[str, object]], rows: int) -> None:
        super().__init__(message, details)
        self.rows = rows


@dataclass
class PushedColumns:
    """The checked values of one view's rows, by column."""

    view: PushView
    values: dict[str, list[object]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows there are; a view always has a time."""
        return len(self.values[self.view.event])

    def table(self) -> pa.Table:
        """Return the rows as their view declares them."""
        columns = {}
        for name, dtype in self.view.columns.items():
            kind = arrow_type(dtype)
            values = self.values[name]
            if dtype == "timestamp":
                columns[name] = pa.array(values, pa.int64()).cast(kind)
            elif dtype == "list<timestamp>":
                columns[name] = pa.array(values, pa.large_list(pa.int64())).cast(kind)
            else:
                columns[name] = pa.array(values, kind)
        return pa.table(columns)


def read_pushed(document: Mapping[str, object], source: PushSource, now_us: int) -> list[PushedColumns]:
    """Check a request's rows against every view that its source feeds.

    Raises
    ------
    EarlyPush
        If a row becomes visible later than now by more than clocks differ: it would block its key.
    BadRequest
        With up to 20 problems, each naming the row and the column and never repeating a value.
    """
    rows = _rows_of(document)
    problems = Problems()
    pushed = [PushedColumns(view, {name: [] for name in view.columns}) for view in source.views]
    for odd in _unpackable(source):
        problems.add(0, odd, "is of a type that only Feast's own push can pack")
    known = source.columns
    for number, row in enumerate(rows):
        if problems.full:
            break
        _take_row(number, row, known, pushed, problems)
    problems.refuse()
    _refuse_early(pushed, now_us)
    return pushed


def _rows_of(document: Mapping[str, object]) -> list[object]:
    if odd := document.keys() - {"rows"}:
        raise BadRequest(f"Unknown fields {shown(odd)}; a push has 'rows'.")
    rows = document.get("rows")
    if not isinstance(rows, list):
        raise BadRequest("'rows' must be a list of objects, one a row.")
    if not 1 <= len(rows) <= MAX_ROWS:
        raise BadRequest(f"'rows' holds {len(rows)} rows; push 1 to {MAX_ROWS} at a time.")
    return rows


def _unpackable(source: PushSource) -> list[str]:
    return [f.name for view in source.views for f in view.features if f.dtype.startswith(_OPAQUE)]


def _take_row(
    number: int, row: object, known: list[str], pushed: list[PushedColumns], problems: Problems
) -> None:
    if not isinstance(row, dict):
        problems.add(number, "", f"must be an object with {known}")
        return
    if odd := row.keys() - set(known):
        problems.add(number, "", f"has unknown columns {shown(odd)}; its source has {known}")
    if missing := [name for name in known if name not in row]:
        problems.add(
            number, "", f"lacks the columns {missing}; a row holds all of them, a null where unknown"
        )
        return
    for one in pushed:
        keys = {key.name for key in one.view.keys}
        for name, dtype in one.view.columns.items():
            value = row[name]
            if value is None:
                problem = "may not be null" if name in one.view.required else None
            else:
                value, problem = (take_key if name in keys else take_value)(dtype, value)
            if problem is not None:
                problems.add(number, name, problem)
            one.values[name].append(value)


def _refuse_early(pushed: list[PushedColumns], now_us: int) -> None:
    early: dict[int, dict[str, object]] = {}
    for one in pushed:
        for name in {one.view.event, one.view.created or one.view.event}:
            for number, when in enumerate(one.values[name]):
                if isinstance(when, int) and when > now_us + CLOCK_SKEW_US:
                    problem = "is later than now; the row would block its entity until then"
                    early.setdefault(number, {"row": number, "field": name, "problem": problem})
    if early:
        found = [early[number] for number in sorted(early)]
        raise EarlyPush(
            f"Nothing was written: {len(early)} row(s) claim a time later than now, row {found[0]['row']} "
            "the first. Correct their times, or the sender's clock.",
            found[: Problems.most],
            len(early),
        )
