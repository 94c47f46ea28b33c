"""Questions from a Parquet file, as strict as those over HTTP: nothing is coerced into another entity."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as kinds

from knownat.contract.prediction_log import TIMESTAMP
from knownat.contract.read_plan import ReadPlan
from knownat.errors import ConfigError

ADDED_COLUMNS = ("prediction_id", "model", "version", "degraded", "score")
"""What scoring adds to a file."""

# Declared type -> (whether a file's type holds just such values, the type they are brought to).
_TYPES = {
    "int64": (kinds.is_integer, pa.int64()),
    "int32": (kinds.is_integer, pa.int32()),
    "float64": (kinds.is_floating, pa.float64()),
    "float32": (kinds.is_floating, pa.float32()),
    "bool": (kinds.is_boolean, pa.bool_()),
    "string": (lambda kind: kinds.is_string(kind) or kinds.is_large_string(kind), pa.string()),
}


def read_question_file(source: Path, plan: ReadPlan, *, batch_rows: int) -> Iterator[pa.Table]:
    """Read a file batch by batch: keys and inputs in their declared types, times in UTC microseconds.

    The question's time, where the plan has an input for it, is each row's event_timestamp.

    Raises
    ------
    ConfigError
        If the file cannot be read, lacks a column or holds other values than declared; every
        problem of a batch at once.
    """
    try:
        file = pq.ParquetFile(source)
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(source, [f"cannot be read as Parquet: {error}"]) from error
    with file:
        if problems := list(_misfits(file, plan)):
            raise ConfigError(source, problems)
        for batch in file.iter_batches(batch_size=batch_rows):
            yield _as_questions(pa.Table.from_batches([batch]), source, plan)


def _misfits(file: pq.ParquetFile, plan: ReadPlan) -> Iterator[str]:
    have: pa.Schema = file.schema_arrow
    wanted = {**plan.request_keys, **plan.client_inputs}
    if missing := [name for name in [*wanted, "event_timestamp"] if name not in have.names]:
        yield f"lacks the columns {missing}; it has {have.names}"
    if taken := [name for name in ADDED_COLUMNS if name in have.names]:
        yield f"already has the columns {taken}, which scoring adds"
    if not file.metadata.num_rows:
        yield "holds no rows; there is nothing to score"
    for name, dtype in wanted.items():
        kind = have.field(name).type if name in have.names else pa.null()
        if not (kinds.is_null(kind) or _TYPES[dtype][0](kind)):
            yield f"column '{name}' is {kind}; it must be {dtype}"
    if "event_timestamp" in have.names:
        kind = have.field("event_timestamp").type
        if not kinds.is_timestamp(kind) or kind.tz is None:
            yield f"event_timestamp is {kind}; it must be a timestamp with a time zone"


def _as_questions(table: pa.Table, source: Path, plan: ReadPlan) -> pa.Table:
    problems: list[str] = []
    wanted = {name: _TYPES[dtype][1] for name, dtype in {**plan.request_keys, **plan.client_inputs}.items()}
    for name, kind in {**wanted, "event_timestamp": TIMESTAMP}.items():
        try:
            table = table.set_column(table.schema.get_field_index(name), name, table[name].cast(kind))
        except pa.ArrowInvalid:
            problems.append(f"column '{name}' holds values beyond {kind}")
    required = {"event_timestamp", *plan.client_inputs} - set(plan.nullable_inputs)
    problems += [f"column '{n}' holds nulls; it may not" for n in sorted(required) if table[n].null_count]
    time_input = plan.question_time_input
    if not problems and time_input is not None:
        asked = pc.cast(table["event_timestamp"], pa.int64())
        if time_input not in table.column_names:
            table = table.append_column(time_input, asked)
        elif not table[time_input].equals(asked):
            problems.append(f"column '{time_input}' is not event_timestamp in microseconds; leave it out")
    if problems:
        raise ConfigError(source, problems)
    return table
