"""A prediction request, checked value by value: nothing is coerced, nothing unknown is passed over."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from knownat.contract.read_plan import ReadPlan, check_key
from knownat.errors import BadKey
from serving.errors import BadRequest
from serving.problems import Problems, shown

MAX_ROWS = 10_000
_REQUEST_ID_CHARACTERS = 128
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_INT32_MIN, _INT32_MAX = -(2**31), 2**31 - 1
_TEXT_BYTES = 65_536
_EXACT_FLOAT = 2**53
_ROW_PARTS = frozenset({"keys", "inputs"})


@dataclass(frozen=True)
class Question:
    """One request: n rows of checked keys and inputs, by column."""

    request_id: str
    keys: dict[str, list[object]]
    inputs: dict[str, list[object]]
    rows: int


def read_question(document: Mapping[str, object], plan: ReadPlan, *, new_id: Callable[[], str]) -> Question:
    """Check a request against what the release needs; one without a ``request_id`` gets a new one.

    Raises
    ------
    BadRequest
        With up to 20 problems, each naming the row and the field and never repeating a value.
    """
    rows = _rows_of(document)
    problems = Problems()
    keys: dict[str, list[object]] = {name: [] for name in plan.request_keys}
    inputs: dict[str, list[object]] = {name: [] for name in plan.client_inputs}
    check_as_key, check_as_input = _key_check(plan), _input_check(plan)
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            problems.add(number, "", "must be an object with 'keys' and 'inputs'")
            continue
        if odd := row.keys() - _ROW_PARTS:
            problems.add(number, "", f"has unknown fields {shown(odd)}; a row has 'keys' and 'inputs'")
        problems.add_all(number, "keys", _take(row.get("keys", {}), keys, check_as_key))
        problems.add_all(number, "inputs", _take(row.get("inputs", {}), inputs, check_as_input))
        if problems.full:
            break
    problems.refuse()
    return Question(_request_id(document, new_id), keys, inputs, len(rows))


def _rows_of(document: Mapping[str, object]) -> Sequence[object]:
    if "rows" not in document and ("keys" in document or "inputs" in document):
        if odd := document.keys() - _ROW_PARTS - {"request_id"}:
            raise BadRequest(f"Unknown fields {shown(odd)}; one row is 'keys', 'inputs' and 'request_id'.")
        return [{name: document[name] for name in sorted(_ROW_PARTS & document.keys())}]
    if odd := document.keys() - {"rows", "request_id"}:
        raise BadRequest(f"Unknown fields {shown(odd)}; a request has 'rows' and 'request_id'.")
    rows = document.get("rows")
    if not isinstance(rows, list):
        raise BadRequest("'rows' must be a list of objects with 'keys' and 'inputs'.")
    if not 1 <= len(rows) <= MAX_ROWS:
        raise BadRequest(f"'rows' holds {len(rows)} rows; send 1 to {MAX_ROWS} at a time.")
    return rows


def _request_id(document: Mapping[str, object], new_id: Callable[[], str]) -> str:
    given = document.get("request_id")
    if given is None:
        return new_id()
    if not (isinstance(given, str) and 0 < len(given) <= _REQUEST_ID_CHARACTERS and given.isprintable()):
        raise BadRequest(f"'request_id' must be 1 to {_REQUEST_ID_CHARACTERS} printable characters.")
    return given


Check = Callable[[str, object], tuple[object, str | None]]


def _take(found: object, columns: Mapping[str, list[object]], check: Check) -> list[tuple[str, str]]:
    """Move one row's values to their columns; return (field, problem) of those that may not."""
    if not isinstance(found, dict):
        return [("", "must be an object")]
    problems = []
    if odd := found.keys() - columns.keys():
        problems.append(("", f"has unknown fields {shown(odd)}; known are {list(columns)}"))
    for name, column in columns.items():
        if name not in found:
            problems.append((name, "is missing"))
            continue
        value, problem = check(name, found[name])
        if problem is not None:
            problems.append((name, problem))
        column.append(value)
    return problems


def _key_check(plan: ReadPlan) -> Check:
    dtypes = plan.request_keys

    def check(name: str, value: object) -> tuple[object, str | None]:
        try:
            return check_key(name, dtypes[name], value), None
        except BadKey as error:
            return None, str(error)

    return check


def _input_check(plan: ReadPlan) -> Check:
    dtypes, nullable = plan.client_inputs, frozenset(plan.nullable_inputs)

    def check(name: str, value: object) -> tuple[object, str | None]:
        if value is None:
            return None, None if name in nullable else "may not be null; the model never saw one missing"
        return read_input(dtypes[name], value)

    return check


def read_input(dtype: str, value: object) -> tuple[object, str | None]:
    """Return the input as its type, or what it must be instead.

    JSON does not tell 3 from 3.0, so a float64 takes an integer that a double holds exactly; an int64
    takes no fraction, not even .0.
    """
    if dtype in {"float64", "float32"}:
        return _read_float(value)
    if dtype in {"int64", "int32"}:
        low, high = (_INT64_MIN, _INT64_MAX) if dtype == "int64" else (_INT32_MIN, _INT32_MAX)
        fits = type(value) is int and low <= value <= high
        return value, None if fits else f"must be an integer of {dtype[3:]} bits"
    if dtype == "bool":
        return value, None if isinstance(value, bool) else "must be true or false"
    return _read_text(value)


def _read_float(value: object) -> tuple[object, str | None]:
    if type(value) is int and abs(value) <= _EXACT_FLOAT:
        return float(value), None
    fits = type(value) is float and math.isfinite(value)
    return value, None if fits else "must be a finite number"


def _read_text(value: object) -> tuple[object, str | None]:
    if not isinstance(value, str) or "\0" in value or len(value) > _TEXT_BYTES:
        return value, f"must be text of at most {_TEXT_BYTES} characters without NUL"
    return value, None
