"""Leaks planted on purpose, made of a model's own answers: a test that misses one proves nothing.

Each canary is a column that says it was known at the question and was not. They never reach a model.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from knownat.contract.model_spec import ModelSpec
from training.examples import EVENT_TIMESTAMP, LABEL

_PLACE, _SUBJECT = "__place", "__subject"


@dataclass(frozen=True)
class Canary:
    """One way to leak: its name, what it is in plain words, and how to plant it."""

    name: str
    meaning: str
    plant: Callable[[], pl.Expr]


def _future_label() -> pl.Expr:
    return pl.col(LABEL)


def _backfilled() -> pl.Expr:
    return pl.col(LABEL).fill_null(0).cum_sum().over(_SUBJECT, order_by=(EVENT_TIMESTAMP, _PLACE))


def _stamped_at_start() -> pl.Expr:
    day = pl.col(EVENT_TIMESTAMP).dt.truncate("1d")
    return pl.col(LABEL).sum().over(_SUBJECT, day)


def _target_encoded() -> pl.Expr:
    return pl.col(LABEL).sum().over(_SUBJECT)


CANARIES = (
    Canary("future_label", "the answer itself, stamped at its question", _future_label),
    Canary("backfilled", "all answers so far, dated by their questions though known later", _backfilled),
    Canary("stamped_at_start", "the day's answers, stamped at the start of the day", _stamped_at_start),
    Canary("target_encoded", "all answers of the same subject, earlier and later alike", _target_encoded),
)


def plant_canaries(examples: pa.Table, spec: ModelSpec) -> Mapping[str, pa.ChunkedArray]:
    """Make each canary's column from every question, in the questions' order."""
    frame = pl.DataFrame(examples.select([*spec.examples.keys, EVENT_TIMESTAMP, LABEL]))
    planted = frame.with_row_index(_PLACE).with_columns(pl.col(subject_of(examples, spec)).alias(_SUBJECT))
    columns = planted.select(canary.plant().alias(canary.name) for canary in CANARIES)
    return {name: columns[name].to_arrow() for name in columns.columns}


def subject_of(examples: pa.Table, spec: ModelSpec) -> str:
    """Name the key with the fewest values: the one whose questions come closest together."""
    return min(spec.examples.keys, key=lambda name: len(examples[name].unique()))
