"""Requests of one release, decoded and checked in one pass by a decoder made for its plan.

The decoder takes a part of what :func:`serving.questions.read_question` takes, and gives the same; what
it does not take goes there, where every problem is named.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import GenericAlias
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from knownat.contract.read_plan import ReadPlan
from serving.bodies import parse_json
from serving.questions import MAX_ROWS, Question, read_question

_KEY_BYTES = 1_024
_TEXT_CHARACTERS = 65_536
_EXACT_FLOAT = 2**53
_INT64: Any = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_KEYS: Mapping[str, Any] = {
    "int64": _INT64 | None,
    "string": Annotated[str, Meta(min_length=1, max_length=_KEY_BYTES)] | None,
}
_NUMBER: Any = int | float  # Not float alone: it would round an integer that no double holds.
_INPUTS: Mapping[str, Any] = {
    "int64": _INT64,
    "int32": Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)],
    "float64": _NUMBER,
    "float32": _NUMBER,
    "bool": bool,
    "string": Annotated[str, Meta(max_length=_TEXT_CHARACTERS)],
}
_MANY_ROWS = Meta(min_length=1, max_length=MAX_ROWS)
_REQUEST_ID: Any = Annotated[str, Meta(min_length=1, max_length=128)]


class OneQuestion(NamedTuple):
    """One row: checked keys by name, and inputs in the plan's order but for the question's time."""

    request_id: str
    keys: dict[str, object]
    inputs: list[object]

    def together(self, plan: ReadPlan) -> Question:
        """Return the same as a question of one row."""
        keys = {name: [value] for name, value in self.keys.items()}
        inputs = {name: [value] for name, value in zip(plan.client_inputs, self.inputs, strict=True)}
        return Question(self.request_id, keys, inputs, 1)


class _Unusual(ValueError):
    """The decoder took what the request may not hold, or cannot tell."""


Pass = Callable[[Any], object]
"""Gives a value as the release takes it, or raises :class:`_Unusual`."""


class Decoder:
    """Reads the bodies of one plan's requests."""

    def __init__(self, plan: ReadPlan, *, new_id: Callable[[], str]) -> None:
        self._plan = plan
        self._new_id = new_id
        self._keys, self._inputs = tuple(plan.request_keys), tuple(plan.client_inputs)
        self._decode = msgspec.json.Decoder(_body_type(plan)).decode
        self._key_passes = _passes(plan.request_keys.values(), {"string": _pass_key})
        self._input_passes = _passes(
            plan.client_inputs.values(),
            {"float64": _pass_float, "float32": _pass_float, "string": _pass_text},
        )

    def decode(self, body: bytes) -> OneQuestion | Question:
        """Decode one request of one row or of many.

        Raises
        ------
        BadRequest
            With up to 20 problems, each naming the row and the field and never repeating a value.
        """
        try:
            return self._usual(self._decode(body))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, _Unusual):
            question = read_question(parse_json(body), self._plan, new_id=self._new_id)
        return self._alone(question) if question.rows == 1 else question

    def _usual(self, body: Any) -> OneQuestion | Question:
        request_id = self._new_id() if body.request_id is UNSET else _printable(body.request_id)
        alone = body.rows is UNSET
        # Either one row or many, and neither both nor none.
        if alone is (body.keys is UNSET and body.inputs is UNSET):
            raise _Unusual
        rows = [body] if alone else body.rows
        if len(rows) > 1:
            keys = _columns([row.keys for row in rows], self._keys, self._key_passes)
            inputs = _columns([row.inputs for row in rows], self._inputs, self._input_passes)
            return Question(request_id, keys, inputs, len(rows))
        values = _row(rows[0].keys, self._keys, self._key_passes)
        sent = _row(rows[0].inputs, self._inputs, self._input_passes)
        return OneQuestion(request_id, dict(zip(self._keys, values, strict=True)), sent)

    def _alone(self, question: Question) -> OneQuestion:
        keys = {name: values[0] for name, values in question.keys.items()}
        return OneQuestion(question.request_id, keys, [values[0] for values in question.inputs.values()])


def _body_type(plan: ReadPlan) -> Any:
    nullable = frozenset(plan.nullable_inputs)
    keys = _struct("Keys", {name: _KEYS[dtype] for name, dtype in plan.request_keys.items()})
    inputs = _struct(
        "Inputs",
        {
            name: _INPUTS[dtype] | None if name in nullable else _INPUTS[dtype]
            for name, dtype in plan.client_inputs.items()
        },
    )
    parts: list[Any] = [("keys", keys | UnsetType, UNSET), ("inputs", inputs | UnsetType, UNSET)]
    row = msgspec.defstruct("Row", parts, forbid_unknown_fields=True)
    rows: Any = Annotated[GenericAlias(list, (row,)), _MANY_ROWS]
    fields = [
        *parts,
        ("rows", rows | UnsetType, UNSET),
        ("request_id", _REQUEST_ID | UnsetType, UNSET),
    ]
    return msgspec.defstruct("Body", fields, forbid_unknown_fields=True)


def _struct(name: str, types: Mapping[str, Any]) -> Any:
    # A field's name must be one of Python's; a key's need not.
    renamed = {f"field_{number}": given for number, given in enumerate(types)}
    fields = list(zip(renamed, types.values(), strict=True))
    return msgspec.defstruct(name, fields, rename=renamed, forbid_unknown_fields=True)


def _passes(dtypes: Iterable[str], known: Mapping[str, Pass]) -> list[tuple[int, Pass]]:
    return [(place, known[dtype]) for place, dtype in enumerate(dtypes) if dtype in known]


def _row(given: Any, names: Sequence[str], passes: Sequence[tuple[int, Pass]]) -> list[object]:
    if given is UNSET:
        # Where nothing is asked for, nothing need be sent.
        if names:
            raise _Unusual
        return []
    values = list(msgspec.structs.astuple(given))
    for place, check in passes:
        if values[place] is not None:
            values[place] = check(values[place])
    return values


def _columns(
    given: Sequence[Any], names: Sequence[str], passes: Sequence[tuple[int, Pass]]
) -> dict[str, list[object]]:
    if not names:
        return {}
    if UNSET in given:
        raise _Unusual
    columns = [list(column) for column in zip(*map(msgspec.structs.astuple, given), strict=True)]
    for place, check in passes:
        columns[place] = [None if value is None else check(value) for value in columns[place]]
    return dict(zip(names, columns, strict=True))


def _printable(text: str) -> str:
    if not text.isprintable():
        raise _Unusual
    return text


def _pass_key(text: str) -> str:
    if "\0" in text or (not text.isascii() and len(text.encode()) > _KEY_BYTES):
        raise _Unusual
    return text


def _pass_text(text: str) -> str:
    if "\0" in text:
        raise _Unusual
    return text


def _pass_float(number: float) -> float:
    if type(number) is int and abs(number) > _EXACT_FLOAT:
        raise _Unusual
    return float(number)
