"""What a CSV means: which columns name an entity, when each row was true, when it became known, the rest.

Pure: from text and choices to a table, or to the questions that only a person can answer.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

import polars as pl

from knownat.stores.csv_text import CsvText, listed, name_lines
from knownat.stores.csv_times import TimeRules, Times, looks_like_times, read_times
from knownat.stores.csv_values import ValueType, type_column

EVENT, CREATED = "event_timestamp", "created_timestamp"
KeyType = Literal["int64", "string"]

_EVENT_NAMES = ("event_timestamp", "event_time", "timestamp", "datetime", "time", "ts", "date", "day", "at")
_KNOWN_NAMES = (
    "created_timestamp",
    "known_at",
    "created_at",
    "created",
    "published_at",
    "reported_at",
    "recorded_at",
    "ingested_at",
    "loaded_at",
    "updated_at",
)
_MOMENT = pl.Datetime("us", "UTC")


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a person said about a CSV; None or empty is left to be found out."""

    keys: tuple[str, ...] = ()
    event_time: str | None = None
    known_at: str | None = None
    known_after: timedelta | None = None
    """How long after the event time a row became known, where no column says so."""
    times: TimeRules = field(default_factory=TimeRules)
    types: Mapping[str, ValueType] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    """Columns and the names their features get."""
    skipped: tuple[str, ...] = ()
    decimal: str = "."


@dataclass(frozen=True)
class Question:
    """Something that the file does not say: the option that answers it, and what may be answered."""

    option: str
    text: str
    default: str | None = None


@dataclass(frozen=True)
class Proposed:
    """What a CSV becomes: rows in order of visibility, under the names of their features.

    ``columns`` maps each feature to the column it comes from. ``keys`` are the columns that name the
    entity, with their types.
    """

    rows: pl.DataFrame
    keys: Mapping[str, KeyType]
    columns: Mapping[str, str]
    event_time: str
    known_at: str | None
    known_after: timedelta | None
    remarks: tuple[str, ...]

    @property
    def has_created(self) -> bool:
        """Whether it is known when each row became known."""
        return self.known_at is not None or bool(self.known_after)


@dataclass(frozen=True)
class Refused:
    """Why a CSV cannot be taken as it is: problems to mend, and questions to answer."""

    problems: tuple[str, ...]
    questions: tuple[Question, ...] = ()


def propose(text: CsvText, choices: Choices, entities: Mapping[str, KeyType]) -> Proposed | Refused:
    """Find out what a CSV means; ``entities`` are the join keys the repo knows, with their types."""
    if odd := [*_odd_choices(text, choices)]:
        return Refused(tuple(odd))
    roles = _find_roles(text, choices, entities)
    if roles.questions:
        return Refused((), roles.questions)
    times = _Moments(
        read_times(text.columns[roles.event_time], text.lines, choices.times),
        read_times(text.columns[roles.known_at], text.lines, choices.times) if roles.known_at else None,
    )
    if questions := [*times.questions(roles, choices)]:
        return Refused((), tuple(questions))
    return _build(text, choices, roles, times, entities)


def feature_name(column: str) -> str:
    """Spell a column's name as a feature's: lower case, words joined by one underscore."""
    # A capital begins a word, but not in a unit such as dB or kWh.
    apart = re.sub(r"(?<=[a-z0-9]{2})(?=[A-Z])", "_", column.strip())
    words = re.sub(r"[^0-9a-z]+", "_", apart.lower())
    name = words.strip("_")
    return f"n_{name}" if name[:1].isdigit() else name


@dataclass(frozen=True)
class _Roles:
    keys: tuple[str, ...] = ()
    event_time: str = ""
    known_at: str | None = None
    questions: tuple[Question, ...] = ()


def _odd_choices(text: CsvText, choices: Choices) -> Iterator[str]:
    named = [
        *(("--key", name) for name in choices.keys),
        *(("--event-time", name) for name in [choices.event_time] if name),
        *(("--known-at", name) for name in [choices.known_at] if name),
        *(("--type", name) for name in choices.types),
        *(("--rename", name) for name in choices.names),
        *(("--skip", name) for name in choices.skipped),
    ]
    for option, name in named:
        if name not in text.columns:
            yield f"{option} names '{name}', which is no column; there are {listed(text.columns)}"
    if choices.known_at is not None and choices.known_after is not None:
        yield "--known-at and --known-after both say when a row became known; leave one out"


def _find_roles(text: CsvText, choices: Choices, entities: Mapping[str, KeyType]) -> _Roles:
    left = [name for name in text.columns if name not in choices.skipped]
    keys = choices.keys or tuple(name for name in left if name in entities)
    questions = []
    if not keys:
        known = f"; the repo's keys are {listed(sorted(entities))}" if entities else ""
        questions.append(Question("--key", f"Which columns name the entity, of {listed(left)}{known}?"))
    times = [n for n in left if n not in keys and (n in _named(choices) or looks_like_times(text.columns[n]))]
    known_at = choices.known_at
    if known_at is None and choices.known_after is None:
        said = [n for n in times if n != choices.event_time and feature_name(n) in _KNOWN_NAMES]
        known_at = said[0] if len(said) == 1 and len(times) > 1 else None
        if len(said) > 1:
            questions.append(Question("--known-at", f"Which of {listed(said)} says when a row became known?"))
    event = choices.event_time or _event_time([n for n in times if n != known_at])
    if event is None:
        among = [n for n in times if n != known_at] or left
        questions.append(Question("--event-time", f"Which of {listed(among)} says when a row was true?"))
    return _Roles(keys, event or "", known_at, tuple(questions))


def _named(choices: Choices) -> tuple[str | None, ...]:
    return choices.event_time, choices.known_at


def _event_time(times: Sequence[str]) -> str | None:
    named = [name for name in times if feature_name(name) in _EVENT_NAMES]
    found = times if len(times) == 1 else named
    return found[0] if len(found) == 1 else None


@dataclass(frozen=True)
class _Moments:
    """When each row was true and, where a column says so, when it became known."""

    event: Times
    known: Times | None

    def questions(self, roles: _Roles, choices: Choices) -> Iterator[Question]:
        """Ask what the file does not say about its times."""
        both = ((roles.event_time, self.event), (roles.known_at, self.known))
        if names := [name for name, times in both if name and times and times.lacks_zone]:
            yield Question(
                "--zone", f"In which zone are the times of {listed(names)}, e.g. UTC or Europe/Berlin?", "UTC"
            )
        if self.event.whole_days and self.known is None and choices.known_after is None:
            yield Question(
                "--known-after",
                f"'{roles.event_time}' holds days: how long after a day began was its value known "
                "(1d at its end, 0s if before it began)?",
                "1d",
            )

    def problems(self, text: CsvText, roles: _Roles) -> Iterator[str]:
        """Name the times that cannot be read, and the rows that lack one."""
        for name, times in ((roles.event_time, self.event), (roles.known_at, self.known)):
            if name and times:
                yield from times.problems
                if (empty := text.columns[name].is_null()).any():
                    yield f"column '{name}', {name_lines(text.lines, empty)}: a row without a time"

    def created_us(self, choices: Choices) -> pl.Series:
        """Say when each row became known, in microseconds."""
        if self.known:
            return self.known.us
        return self.event.us + (choices.known_after or timedelta(0)) // timedelta(microseconds=1)


def _build(
    text: CsvText, choices: Choices, roles: _Roles, times: _Moments, entities: Mapping[str, KeyType]
) -> Proposed | Refused:
    problems = [*times.problems(text, roles)]
    keys = {name: _key(text, name, entities.get(name), problems) for name in roles.keys}
    taken = {*roles.keys, roles.event_time, roles.known_at, *choices.skipped}
    sources = [name for name in text.columns if name not in taken]
    if not sources:
        problems.append("has keys and times only; there is no column to make a feature of")
    features = [_feature(text, name, choices, problems) for name in sources]
    columns = _name_features(sources, features, roles, choices, problems)
    if problems:
        return Refused(tuple(problems))
    rows = pl.DataFrame(
        [
            *(values for values, _ in keys.values()),
            times.event.us.cast(_MOMENT).alias(EVENT),
            times.created_us(choices).cast(_MOMENT).alias(CREATED),
            *(values.alias(name) for name, (values, _) in zip(columns, features, strict=True)),
        ]
    )
    rows, remarks = _distinct(rows, list(roles.keys), text.lines, problems)
    if problems:
        return Refused(tuple(problems))
    return Proposed(
        rows=rows.sort(pl.max_horizontal(EVENT, CREATED), EVENT, *roles.keys),
        keys={name: kind for name, (_, kind) in keys.items()},
        columns=columns,
        event_time=roles.event_time,
        known_at=roles.known_at,
        known_after=choices.known_after,
        remarks=(*remarks, *_respelt(columns)),
    )


def _key(
    text: CsvText, name: str, declared: KeyType | None, problems: list[str]
) -> tuple[pl.Series, KeyType]:
    column = text.columns[name]
    if (empty := column.is_null()).any():
        problems.append(f"key '{name}', {name_lines(text.lines, empty)}: a row without a key is nobody's")
    if declared is None:
        guessed = type_column(column, text.lines)
        declared = "int64" if guessed.type == "int64" and not guessed.problems else "string"
    typed = type_column(column, text.lines, wanted=declared)
    problems += [f"key {problem.removeprefix('column ').split('; keep')[0]}" for problem in typed.problems]
    return typed.values.alias(name), declared


def _feature(text: CsvText, name: str, choices: Choices, problems: list[str]) -> tuple[pl.Series, str]:
    """Type a feature's column; a time becomes microseconds since 1970, which no store shortens."""
    column = text.columns[name]
    if name not in choices.types and looks_like_times(column):
        times = read_times(column, text.lines, choices.times)
        problems += times.problems
        if times.lacks_zone:
            problems.append(
                f"column '{name}' holds times without a zone; name it with --zone, e.g. --zone UTC"
            )
        return times.us, "_epoch_us"
    typed = type_column(column, text.lines, wanted=choices.types.get(name), decimal=choices.decimal)
    problems += typed.problems
    return typed.values, ""


def _name_features(
    sources: Sequence[str],
    features: Sequence[tuple[pl.Series, str]],
    roles: _Roles,
    choices: Choices,
    problems: list[str],
) -> dict[str, str]:
    names: dict[str, str] = {}
    reserved = {*roles.keys, EVENT, CREATED}
    for source, (_, ending) in zip(sources, features, strict=True):
        name = choices.names.get(source) or feature_name(source) + ending
        if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
            problems.append(
                f"column '{source}' would be the feature '{name}'; say --rename '{source}'=a_plain_name"
            )
        elif name in names or name in reserved:
            other = f"column '{names[name]}'" if name in names else "a key or a time"
            problems.append(
                f"column '{source}' would be the feature '{name}', as {other}; "
                f"say --rename '{source}'=another_name"
            )
        names[name] = source
    return names


def _distinct(
    rows: pl.DataFrame, keys: list[str], lines: pl.Series, problems: list[str]
) -> tuple[pl.DataFrame, list[str]]:
    """Keep one of rows that agree in every column; that two agree in keys and times only is a problem."""
    numbered = rows.with_columns(lines.alias("__line"))
    once = numbered.unique(subset=rows.columns, keep="first", maintain_order=True)
    identity = [*keys, EVENT, CREATED]
    twice = once.filter(pl.struct(identity).is_duplicated())
    if twice.height:
        first = twice.row(0, named=True)
        same = twice.filter(pl.all_horizontal(pl.col(n) == first[n] for n in identity))["__line"]
        who = ", ".join(f"{name}={first[name]}" for name in keys)
        count = once.filter(pl.struct(identity).is_duplicated()).select(identity).n_unique()
        more = f" (and {count - 1} more such pairs)" if count > 1 else ""
        problems.append(
            f"{name_lines(same, same.is_not_null())} say different things of {who} at "
            f"{first[EVENT].isoformat()}{more}; add the key or the time that tells them apart "
            "(--key, --known-at), or leave one out"
        )
    repeated = rows.height - once.height
    remarks = [f"{repeated} rows repeat another in every column and are kept once"] if repeated else []
    return once.drop("__line"), remarks


def _respelt(columns: Mapping[str, str]) -> Iterator[str]:
    for name, source in columns.items():
        if name != source:
            yield f"column '{source}' is the feature '{name}'"
