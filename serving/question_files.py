"""Questions from Parquet files, as strict as those over HTTP: nothing is coerced into another entity."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class QuestionFiles:
    """One Parquet file, or a folder's in the order of their paths; every one was looked at."""

    files: tuple[Path, ...]
    rows: int
    plan: ReadPlan

    def tables(self, batch_rows: int) -> Iterator[pa.Table]:
        """Read the rows in order, so many at a time whatever the files' sizes, keys and inputs as declared.

        The question's time, where the plan has an input for it, is each row's event_timestamp.

        Raises
        ------
        ConfigError
            If a file holds other values than declared; every problem of a batch at once.
        """
        waiting: list[pa.Table] = []
        for path in self.files:
            with _opened(path) as file:
                for batch in file.iter_batches(batch_size=batch_rows):
                    waiting.append(_as_questions(pa.Table.from_batches([batch]), path, self.plan))
                    while sum(map(len, waiting)) >= batch_rows:
                        whole = pa.concat_tables(waiting)
                        yield whole.slice(0, batch_rows)
                        waiting = [whole.slice(batch_rows)]
        if sum(map(len, waiting)):
            yield pa.concat_tables(waiting)


def find_questions(source: Path, plan: ReadPlan) -> QuestionFiles:
    """Look at a Parquet file, or at all of a folder's, before any row is read.

    Raises
    ------
    ConfigError
        If one cannot be read, lacks a column, or has columns of other types than declared or than the
        first; every problem of every file at once.
    """
    files = _files(source)
    problems: list[str] = []
    rows, first = 0, None
    for path in files:
        where = "" if path == source else f"{path.relative_to(source)} "
        with _opened(path) as file:
            rows += file.metadata.num_rows
            problems += [f"{where}{problem}" for problem in _misfits(file, plan)]
            columns = _columns_after(file.schema_arrow, plan)
        first = columns if first is None else first
        if [*columns.items()] != [*first.items()]:
            problems.append(f"{where}has other columns than the first file: {_differences(columns, first)}")
    if not rows and not problems:
        problems.append("holds no rows; there is nothing to score")
    if problems:
        raise ConfigError(source, problems)
    return QuestionFiles(tuple(files), rows, plan)


def _files(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source]
    inside = sorted(path for path in source.rglob("*.parquet") if path.is_file())
    # Engines mark what is not data, or not whole yet, with a dot or an underscore.
    found = [path for path in inside if not path.name.startswith((".", "_"))]
    if not found:
        raise ConfigError(source, ["holds no file *.parquet"])
    return found


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(path, [f"cannot be read as Parquet: {error}"]) from error


def _columns_after(schema: pa.Schema, plan: ReadPlan) -> dict[str, str]:
    """Name a file's columns with their types, those as declared that are brought to it."""
    brought = {**plan.request_keys, **plan.client_inputs, "event_timestamp": str(TIMESTAMP)}
    return {field.name: str(brought.get(field.name, field.type)) for field in schema}


def _differences(columns: Mapping[str, str], first: Mapping[str, str]) -> str:
    odd = [name for name in {**first, **columns} if columns.get(name) != first.get(name)]
    return f"{odd} differ" if odd else "their order differs"


def _misfits(file: pq.ParquetFile, plan: ReadPlan) -> Iterator[str]:
    have: pa.Schema = file.schema_arrow
    wanted = {**plan.request_keys, **plan.client_inputs}
    if missing := [name for name in [*wanted, "event_timestamp"] if name not in have.names]:
        yield f"lacks the columns {missing}; it has {have.names}"
    if taken := [name for name in ADDED_COLUMNS if name in have.names]:
        yield f"already has the columns {taken}, which scoring adds"
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
