"""A world in which served values go wrong on purpose, and the true cause of each is known.

Rows travel from a table to a store that is written in steps; what was put wrong is remembered.
Nothing here is shared with the code that has to find out: truth is looked up row by row.
``python -m tests.monitoring.skew_page`` writes what became of it to ``docs/reference/skew.md``.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from knownat.contract.read_plan import PlanFeature, PlanKey, PlanView
from knownat.stores.tables import CREATED_US, EVENT_US, VISIBLE_US
from monitoring.causes import Cause, explain
from monitoring.served_rows import NEVER, Answers, ViewCase

MINUTE, HOUR, DAY = 60_000_000, 3_600_000_000, 86_400_000_000
STEP = 15 * MINUTE
DTYPES = {"value": "float64", "count": "int64", "share": "float64", "channel": "string", "is_member": "bool"}
POLARS = {"float64": pl.Float64, "int64": pl.Int64, "string": pl.String, "bool": pl.Boolean}
DAYS, CUSTOMERS = 10, 150

Values = dict[str, object]
Confusion = Counter[tuple[Cause | None, Cause | None]]


@dataclass(frozen=True)
class Row:
    """One feature row, as the store or the table has it."""

    key: int
    event: int
    created: int
    values: Values = field(hash=False)

    @property
    def visible(self) -> int:
        return max(self.event, self.created)

    @property
    def rank(self) -> tuple[int, int]:
        return self.event, self.created


@dataclass(frozen=True)
class Answer:
    """What one prediction was served of the view, and what was done to it."""

    key: int
    asked: int
    status: str
    row: Row | None
    values: Values
    put_wrong: dict[str, Cause] = field(default_factory=dict)
    """By feature; '*' for all of them."""


@dataclass(frozen=True)
class Shape:
    """A view: how its rows come, and which habit its values have."""

    name: str
    snapshots: bool = False
    ttl: int = 14 * HOUR
    redefined: bool = False
    swapped: bool = False


SHAPES = (
    Shape("events"),
    Shape("snapshots", snapshots=True, ttl=0),
    Shape("redefined", redefined=True),
    Shape("swapped", swapped=True),
)


class World:
    """A table as it was when the store was written, as it is now, and n answers."""

    def __init__(self, shape: Shape, seed: int, *, predictions: int) -> None:
        self.dice, self.shape = random.Random(f"{shape.name} {seed}"), shape
        base = list(self._rows())
        kinds = self.dice.choices(
            ["kept", "late", "deleted", "corrected"], [0.94, 0.02, 0.02, 0.02], k=len(base)
        )
        self.late = {(*row.rank, row.key) for row, kind in zip(base, kinds, strict=True) if kind == "late"}
        self.deleted = {
            (*row.rank, row.key) for row, kind in zip(base, kinds, strict=True) if kind == "deleted"
        }
        self.then = [row for row, kind in zip(base, kinds, strict=True) if kind != "late"]
        self.now = [
            self._redefine(self._correct(row) if kind == "corrected" else row)
            for row, kind in zip(base, kinds, strict=True)
            if kind != "deleted"
        ]
        self.by_key_then, self.by_key_now = _by_key(self.then), _by_key(self.now)
        self.answers = [self._answer() for _ in range(predictions)]

    # -- rows --------------------------------------------------------------------------------------

    def _rows(self) -> Iterator[Row]:
        dice = self.dice
        if self.shape.snapshots:
            for day in range(DAYS):
                created = day * DAY + 6 * HOUR
                yield from (Row(key, day * DAY, created, self._values()) for key in range(CUSTOMERS))
            return
        taken: set[tuple[int, int]] = set()
        for key in range(CUSTOMERS):
            event = dice.randrange(DAY)
            while event < DAYS * DAY:
                created = event + dice.choice([0, 0, MINUTE, 20 * MINUTE, 5 * HOUR])
                if (event, created) not in taken:
                    taken.add((event, created))
                    yield Row(key, event, created, self._values())
                event += dice.randrange(HOUR, 40 * HOUR if dice.random() < 0.1 else 12 * HOUR)

    def _values(self) -> Values:
        dice = self.dice
        drawn: Values = {
            "value": dice.uniform(-50, 50),
            "count": 2**33 + dice.randrange(10_000),
            "share": dice.random(),
            "channel": dice.choice(["web", "shop", "phone"]),
            "is_member": dice.random() < 0.5,
        }
        return {name: None if dice.random() < 0.1 else value for name, value in drawn.items()}

    def _correct(self, row: Row) -> Row:
        """Rewrite a row in place: another time, other values, the old one gone."""
        return replace(row, created=row.created + 2 * HOUR, values=self._values())

    def _redefine(self, row: Row) -> Row:
        value = row.values["value"]
        if not self.shape.redefined or not isinstance(value, float):
            return row
        return replace(row, values={**row.values, "value": value * 1.1 + 3})

    # -- answers -----------------------------------------------------------------------------------

    def _answer(self) -> Answer:
        dice = self.dice
        answer = self._serve(dice.randrange(-2, CUSTOMERS), dice.randrange(DAY, DAYS * DAY))
        of_row = (self._ignore_ttl, self._lose, self._mistake, self._foresee)
        of_value = (self._fill_null, self._cast, self._garble)
        wrong = dice.choice([*of_row, *of_value]) if dice.random() < 0.3 else None
        if wrong in of_row:
            answer = wrong(answer)
        answer = self._by_habit(answer)
        return wrong(answer) if wrong in of_value and answer.status == "present" else answer

    def _by_habit(self, answer: Answer) -> Answer:
        if answer.status != "present":
            return answer
        if self.shape.redefined:
            return replace(answer, put_wrong={**answer.put_wrong, "value": Cause.OTHER_DEFINITION})
        if not self.shape.swapped:
            return answer
        crossed = {"value": answer.values["share"], "share": answer.values["value"]}
        wrong = {**answer.put_wrong, **dict.fromkeys(crossed, Cause.SWAPPED)}
        return replace(answer, values={**answer.values, **crossed}, put_wrong=wrong)

    def _serve(self, key: int, asked: int) -> Answer:
        row = _newest(self.by_key_then.get(key, []), asked // STEP * STEP)
        if row is None:
            return Answer(key, asked, "not_found", None, dict.fromkeys(DTYPES))
        if self._expired(row, asked):
            return Answer(key, asked, "expired", row, dict.fromkeys(DTYPES))
        return Answer(key, asked, "present", row, dict(row.values))

    def _expired(self, row: Row, asked: int) -> bool:
        return bool(self.shape.ttl) and row.event < asked - self.shape.ttl

    def _ignore_ttl(self, answer: Answer) -> Answer:
        if answer.status != "expired" or answer.row is None or self._gone(answer.row):
            return answer
        return replace(answer, status="present", values=dict(answer.row.values), put_wrong={"*": Cause.TTL})

    def _lose(self, answer: Answer) -> Answer:
        if answer.status != "present":
            return answer
        status = self.dice.choice(["unavailable", "not_found"])
        wrong = {"*": Cause.MISSING_ONLINE}
        return replace(answer, status=status, row=None, values=dict.fromkeys(DTYPES), put_wrong=wrong)

    def _fill_null(self, answer: Answer) -> Answer:
        nulls = [name for name in self._plain(answer) if answer.values[name] is None]
        if not nulls:
            return answer
        name = self.dice.choice(nulls)
        default = {"channel": "", "is_member": False}.get(name, 0)
        return self._with(answer, name, default, Cause.NULL_DEFAULT)

    def _cast(self, answer: Answer) -> Answer:
        name = self.dice.choice(self._plain(answer, "value", "share", "count"))
        value = answer.values[name]
        if isinstance(value, float):
            cast = self.dice.choice([float(np.float32(value)), float(int(value))])
            return self._with(answer, name, cast, Cause.DTYPE)
        if isinstance(value, int):
            return self._with(answer, name, (value + 2**31) % 2**32 - 2**31, Cause.DTYPE)
        return answer

    def _garble(self, answer: Answer) -> Answer:
        name = self.dice.choice(
            [name for name in self._plain(answer) if answer.values[name] is not None] or ["share"]
        )
        value = answer.values[name]
        other: object = {
            float: lambda v: v * (1 + self.dice.choice([1e-12, 0.01, 3])) + 1e-9,
            int: lambda v: v + self.dice.randrange(1, 9),
            str: lambda v: self.dice.choice([w for w in ("web", "shop", "phone", "?") if w != v]),
            bool: lambda v: not v,
            type(None): lambda _: None,
        }[type(value)](value)
        return answer if other is None else self._with(answer, name, other, Cause.MISMATCH)

    def _mistake(self, answer: Answer) -> Answer:
        if answer.status != "present":
            return answer
        other = self.dice.choice([key for key in range(CUSTOMERS) if key != answer.key])
        wrong = self._serve(other, answer.asked)
        # Of a row that was changed since, nobody could tell whose it was.
        if wrong.status != "present" or wrong.row is None or self._gone(wrong.row):
            return answer
        return replace(wrong, key=answer.key, put_wrong={"*": Cause.WRONG_KEY})

    def _foresee(self, answer: Answer) -> Answer:
        later = [
            row
            for row in self.by_key_then.get(answer.key, [])
            if answer.asked < row.visible < answer.asked + DAY and not self._gone(row)
        ]
        if answer.status != "present" or not later:
            return answer
        row = later[0]
        return replace(answer, row=row, values=dict(row.values), put_wrong={"*": Cause.TOO_EARLY})

    def _plain(self, answer: Answer, *names: str) -> list[str]:
        """Features whose values have no other thing wrong with them."""
        return [name for name in names or DTYPES if name not in answer.put_wrong] or ["channel"]

    def _with(self, answer: Answer, name: str, value: object, cause: Cause) -> Answer:
        if name in answer.put_wrong or _same(value, answer.values[name]):
            return answer
        values = {**answer.values, name: value}
        return replace(answer, values=values, put_wrong={**answer.put_wrong, name: cause})

    def _gone(self, row: Row) -> bool:
        return row.rank not in {known.rank for known in self.by_key_now.get(row.key, [])}

    # -- truth -------------------------------------------------------------------------------------

    def truth(self, answer: Answer) -> tuple[str, Row | None]:
        """What training would find now, at the question's own time."""
        row = _newest(self.by_key_now.get(answer.key, []), answer.asked)
        if row is None:
            return "not_found", None
        return ("expired" if self._expired(row, answer.asked) else "present"), row

    def cause(self, answer: Answer, name: str) -> Cause:
        """Why this value differs: as the value was put wrong, or else its row, or else the row's way."""
        whole, row = answer.put_wrong.get("*"), answer.row
        status, true = self.truth(answer)
        if whole is Cause.WRONG_KEY:
            return whole
        lies = [] if row is None else [r for r in self.by_key_now.get(row.key, []) if r.rank == row.rank]
        if answer.status == "present" and lies and answer.values[name] != lies[0].values[name]:
            return answer.put_wrong.get(name, whole or Cause.MISMATCH)
        if whole is not None and not (whole is Cause.TTL and status == "present"):
            return whole
        return self._row_cause(answer, there=bool(lies), true=true)

    def _row_cause(self, answer: Answer, *, there: bool, true: Row | None) -> Cause:
        row, written = answer.row, answer.asked // STEP * STEP
        if row is not None and not there:
            gone = (*row.rank, row.key) in self.deleted
            return Cause.MISSING_OFFLINE if gone else Cause.LATE_OR_CORRECTED
        if true is None or true.visible > written:
            return Cause.LAG
        # The table has had a row of this entity for long; the store had none at all.
        return Cause.LATE_OR_CORRECTED if row is not None else Cause.MISSING_ONLINE

    # -- the case ----------------------------------------------------------------------------------

    def case(self, *, steps_known: bool) -> ViewCase:
        """Lay everything out as the code under test is given it."""
        found = [self.truth(answer) for answer in self.answers]
        view = PlanView(
            name=self.shape.name,
            keys=(PlanKey(view_key="customer_id", request_key="customer_id", dtype="int64"),),
            ttl_us=self.shape.ttl,
            features=tuple(PlanFeature(name=name, dtype=dtype) for name, dtype in DTYPES.items()),
        )
        table = _table(self.now)
        served_events = {answer.row.event for answer in self.answers if answer.row is not None}
        return ViewCase(
            view=view,
            keys=pl.DataFrame({"customer_id": [answer.key for answer in self.answers]}),
            asked_us=np.array([answer.asked for answer in self.answers]),
            served=_answers([(a.status, a.row, a.values) for a in self.answers]),
            truth=_answers(
                [
                    (
                        status,
                        row,
                        dict(row.values)
                        if row is not None and status == "present"
                        else dict.fromkeys(DTYPES),
                    )
                    for status, row in found
                ]
            ),
            rows=table,
            find_elsewhere=lambda: _table([row for row in self.now if row.event in served_events]),
            said_us=np.array([a.asked // STEP * STEP for a in self.answers]) if steps_known else None,
        )


def confusion(shape: Shape, seed: int, *, predictions: int, steps_known: bool = False) -> Confusion:
    """Count (true cause, named cause) over every value of a world; None where values are the same."""
    world = World(shape, seed, predictions=predictions)
    named = explain(world.case(steps_known=steps_known))
    counted: Confusion = Counter()
    for at, answer in enumerate(world.answers):
        status, row = world.truth(answer)
        for name in DTYPES:
            true = _if_present(status, row)[name]
            wrong = None if _same(answer.values[name], true) else world.cause(answer, name)
            counted[wrong, named[name][at]] += 1
    return counted


def _if_present(status: str, row: Row | None) -> Values:
    return dict(row.values) if row is not None and status == "present" else dict.fromkeys(DTYPES)


def _same(one: object, two: object) -> bool:
    return one is two if one is None or two is None else one == two


def _newest(rows: list[Row], until: int) -> Row | None:
    return max((row for row in rows if row.visible <= until), key=lambda row: row.rank, default=None)


def _by_key(rows: list[Row]) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = {}
    for row in rows:
        found.setdefault(row.key, []).append(row)
    return found


def _table(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "customer_id": pl.Series([row.key for row in rows], dtype=pl.Int64),
            **_columns([row.values for row in rows]),
            EVENT_US: pl.Series([row.event for row in rows], dtype=pl.Int64),
            CREATED_US: pl.Series([row.created for row in rows], dtype=pl.Int64),
            VISIBLE_US: pl.Series([row.visible for row in rows], dtype=pl.Int64),
        }
    )


def _columns(values: list[Values]) -> dict[str, pl.Series]:
    return {
        name: pl.Series(name, [row[name] for row in values], dtype=POLARS[dtype], strict=False)
        for name, dtype in DTYPES.items()
    }


def _answers(found: list[tuple[str, Row | None, Values]]) -> Answers:
    return Answers(
        status=np.array([status for status, _, _ in found]),
        event_us=np.array([NEVER if row is None else row.event for _, row, _ in found]),
        created_us=np.array([NEVER if row is None else row.created for _, row, _ in found]),
        values=pl.DataFrame(_columns([values for _, _, values in found])),
    )
