"""A training frame from a file of questions, written as a file."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from knownat.errors import ConfigError
from knownat.stores.csv_text import read_csv_text
from knownat.stores.csv_times import TimeRules, read_times
from knownat.stores.csv_values import type_column
from knownat.stores.history import join_features
from knownat.stores.repo import Repo

_EVENT = "event_timestamp"


def join_file(repo: Repo, questions: Path, features: Sequence[str], output: Path) -> pa.Table:
    """Join a file of questions with features, write the frame and return it.

    Raises
    ------
    ConfigError
        If the file cannot be read, or has no ``event_timestamp`` with a zone.
    RepoError, RowsNotConserved
        See :func:`knownat.stores.history.join_features`.
    """
    if output.suffix not in (".parquet", ".csv"):
        raise ConfigError("--output", [f"'{output}' must end in .parquet or .csv"])
    frame = join_features(repo, read_questions(questions), features)
    staged = output.with_name(f".{output.name}.staged")
    try:
        if output.suffix == ".csv":
            pacsv.write_csv(frame, staged)
        else:
            pq.write_table(frame, staged)
        staged.replace(output)
    finally:
        staged.unlink(missing_ok=True)
    return frame


def read_questions(path: Path) -> pa.Table:
    """Read questions from Parquet, or from a CSV whose ``event_timestamp`` says its zone.

    Raises
    ------
    ConfigError
        If it cannot be read; every problem at once, rows by their line.
    """
    if path.suffix == ".parquet":
        try:
            return pq.read_table(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise ConfigError(path, [f"cannot be read as Parquet: {error}"]) from error
    text = read_csv_text(path)
    if _EVENT not in text.columns:
        raise ConfigError(path, [f"has no column '{_EVENT}'; it has {list(text.columns)}"])
    times = read_times(text.columns[_EVENT], text.lines, TimeRules())
    problems = [*times.problems]
    if times.lacks_zone:
        problems.append(f"column '{_EVENT}' has times without a zone; write 2024-03-01T09:00:00Z")
    columns = {}
    for name, column in text.columns.items():
        if name == _EVENT:
            columns[name] = times.us.cast(pl.Datetime("us", "UTC"))
            continue
        empty = column.is_null().all()
        typed = type_column(column, text.lines, wanted="string" if empty else None)
        problems += typed.problems
        columns[name] = typed.values
    if problems:
        raise ConfigError(path, problems)
    frame: pa.Table = pl.DataFrame(columns).to_arrow(compat_level=pl.CompatLevel.oldest())
    strings = [pa.string() if pa.types.is_large_string(field.type) else field.type for field in frame.schema]
    return frame.cast(
        pa.schema([field.with_type(kind) for field, kind in zip(frame.schema, strings, strict=True)])
    )
