"""Questions and their answers: what a model's SQL returns, checked against its declaration."""

from collections.abc import Iterator
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from knownat.contract.model_spec import ModelSpec
from knownat.contract.prediction_log import TIMESTAMP
from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError
from knownat.stores.pipelines import query_events

EVENT_TIMESTAMP = "event_timestamp"
LABEL = "label"
LABEL_TIMESTAMP = "label_timestamp"

_ARROW = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_()}


def read_examples(workspace: Workspace, spec: ModelSpec, *, known_by: datetime | None = None) -> pa.Table:
    """Run a model's SQL over the repo's events: keys, time, inputs, label and when it became known.

    A question without an answer keeps a null label; its ``label_timestamp`` is when it was closed, or null
    while it is open. With ``known_by`` the SQL sees only events known by then.

    Raises
    ------
    ConfigError
        With every problem of the columns at once: missing, unknown, of another type, null where
        they may not be, two questions with the same keys and time.
    """
    file = workspace.models / spec.examples.sql
    return check_examples(query_events(workspace.repo, file, known_by=known_by), spec, source=file)


def examples_of_both_sides(workspace: Workspace, spec: ModelSpec, *, asked: pa.Table) -> pa.Table:
    """Take the questions before the cutoff as they stood at the cutoff, and later ones as they stand now.

    What becomes known after the cutoff, a late correction too, belongs to the training sets of later
    cutoffs: this one stays as it was.
    """
    cutoff = pa.scalar(spec.time.cutoff, asked[EVENT_TIMESTAMP].type)
    early = read_examples(workspace, spec, known_by=spec.time.cutoff)
    before = early.filter(pc.less(early[EVENT_TIMESTAMP], cutoff))
    after = asked.filter(pc.greater_equal(asked[EVENT_TIMESTAMP], cutoff))
    return pa.concat_tables([before, after])


def check_examples(examples: pa.Table, spec: ModelSpec, *, source: object) -> pa.Table:
    """Return the declared columns in their declared types, or name every problem.

    Raises
    ------
    ConfigError
        See :func:`read_examples`.
    """
    typed = lay_out_examples(examples, spec, source=source)
    if problems := [*_value_problems(typed, spec)]:
        raise ConfigError(source, problems)
    return typed


def lay_out_examples(examples: pa.Table, spec: ModelSpec, *, source: object) -> pa.Table:
    """Return the declared columns in their declared types, whatever their values.

    Raises
    ------
    ConfigError
        With every problem of the columns at once: missing, unknown, of another type.
    """
    wanted = _wanted(spec)
    problems = [f"returns no column '{name}'" for name in wanted if name not in examples.column_names]
    problems += [
        f"returns '{name}', which the declaration does not name"
        for name in examples.column_names
        if name not in wanted
    ]
    present = {name: kind for name, kind in wanted.items() if name in examples.column_names}
    problems += [p for name, kind in present.items() for p in _type_problems(examples[name], name, kind)]
    if problems:
        raise ConfigError(source, problems)
    return pa.table({name: examples[name].cast(kind) for name, kind in wanted.items()})


def _wanted(spec: ModelSpec) -> dict[str, pa.DataType]:
    return {
        **{name: _ARROW[dtype] for name, dtype in spec.examples.keys.items()},
        EVENT_TIMESTAMP: TIMESTAMP,
        **{name: _ARROW[dtype] for name, dtype in spec.examples.inputs.items()},
        LABEL: pa.float64(),
        LABEL_TIMESTAMP: TIMESTAMP,
        **({spec.examples.weight: pa.float64()} if spec.examples.weight else {}),
    }


def _type_problems(column: pa.ChunkedArray, name: str, kind: pa.DataType) -> Iterator[str]:
    found = column.type
    if pa.types.is_integer(kind):
        fits = pa.types.is_integer(found)
    elif pa.types.is_floating(kind):
        number = pa.types.is_integer(found) or pa.types.is_floating(found)
        fits = number or (name == LABEL and pa.types.is_boolean(found))
    elif pa.types.is_timestamp(kind):
        # Nanoseconds would be cut and naive times guessed; neither happens quietly.
        fits = found == kind
    else:
        fits = found == kind or (pa.types.is_string(kind) and pa.types.is_large_string(found))
    if not fits:
        yield f"'{name}' is {found}; it must be {kind}"


def _value_problems(examples: pa.Table, spec: ModelSpec) -> Iterator[str]:
    if nulls := examples[EVENT_TIMESTAMP].null_count:
        yield f"'{EVENT_TIMESTAMP}' is null in {nulls} rows"
    if nulls := examples.filter(pc.is_valid(examples[LABEL]))[LABEL_TIMESTAMP].null_count:
        yield f"'{LABEL_TIMESTAMP}' is null in {nulls} rows that have a label"
    if not examples.num_rows:
        yield "returns no rows"
    identity = [*spec.examples.keys, EVENT_TIMESTAMP]
    # A label that was known when its question was asked is no question.
    early = pc.less(examples[LABEL_TIMESTAMP], examples[EVENT_TIMESTAMP])
    if count := pc.sum(early).as_py():
        yield f"'{LABEL_TIMESTAMP}' is before '{EVENT_TIMESTAMP}' in {count} rows"
    repeated = examples.num_rows - examples.select(identity).group_by(identity).aggregate([]).num_rows
    if repeated:
        yield f"{repeated} rows repeat the keys and time of another; a question is asked once"
    yield from _label_problems(examples[LABEL].drop_null(), spec)
    if spec.examples.weight:
        yield from _weight_problems(examples, spec.examples.weight)


def _weight_problems(examples: pa.Table, name: str) -> Iterator[str]:
    weights = examples.filter(pc.is_valid(examples[LABEL]))[name]
    if nulls := weights.null_count:
        yield f"weight '{name}' is null in {nulls} rows that have a label"
    known = weights.drop_null()
    odd = pc.sum(pc.or_(pc.invert(pc.is_finite(known)), pc.less(known, 0))).as_py()
    if odd:
        yield f"weight '{name}' is negative, NaN or infinite in {odd} rows"
    elif len(known) and not pc.sum(known).as_py():
        yield f"weight '{name}' is 0 in every row"


def _label_problems(labels: pa.ChunkedArray, spec: ModelSpec) -> Iterator[str]:
    if not len(labels):
        return
    if not pc.all(pc.is_finite(labels)).as_py():
        yield "'label' holds NaN or infinity"
        return
    low, high = pc.min(labels).as_py(), pc.max(labels).as_py()
    whole = pc.all(pc.equal(labels, pc.floor(labels))).as_py()
    if spec.task == "binary" and not (whole and low >= 0 and high <= 1):
        yield f"'label' runs from {low} to {high}; a binary label is 0 or 1"
    if spec.task == "multiclass" and not (whole and low >= 0):
        yield "'label' must be the number of a class: 0, 1, 2, ..."
