"""The split by time: what could be known when the model was made, and what came after."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from knownat.clock import to_us
from knownat.contract.model_spec import ModelSpec, TimeSplit
from knownat.errors import ConfigError
from training.examples import EVENT_TIMESTAMP, LABEL, LABEL_TIMESTAMP

_NEVER = 2**63 - 1
_DAY_US = 86_400_000_000

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """Row numbers of the sides of a split.

    ``train`` and ``validation`` stop the booster early, with a gap between them; ``fit`` is all that
    was known by the cutoff, the gap before it left out; ``test`` is asked at or after the cutoff.
    """

    train: Rows
    validation: Rows
    fit: Rows
    test: Rows


def keep_answered(examples: pa.Table, time: TimeSplit) -> pa.Table:
    """Keep the questions that some side of the split uses, in order.

    Dropped are: no answer, an answer that was not known by the cutoff, the gap before the cutoff,
    and what was asked after the test window.
    """
    sides = _sides(examples, time)
    return examples.filter(pa.array(sides["fit"] | sides["test"]))


def split_by_time(examples: pa.Table, spec: ModelSpec) -> Fold:
    """Split answered questions at the cutoff, by when they were asked and when the answer was known.

    Raises
    ------
    ConfigError
        If a side is empty, or a binary side holds one class only.
    """
    sides = {name: np.flatnonzero(mask) for name, mask in _sides(examples, spec.time).items()}
    labels = examples[LABEL].to_numpy()
    if problems := [p for name, rows in sides.items() for p in _problems(name, labels[rows], spec)]:
        raise ConfigError(f"{spec.name}: the time split at {spec.time.cutoff:%Y-%m-%dT%H:%MZ}", problems)
    return Fold(**sides)


def _sides(examples: pa.Table, time: TimeSplit) -> dict[str, npt.NDArray[np.bool_]]:
    asked, known = (microseconds(examples[name]) for name in (EVENT_TIMESTAMP, LABEL_TIMESTAMP))
    answered = pc.is_valid(examples[LABEL]).to_numpy()
    boundary = time.cutoff - timedelta(days=time.validation_days)

    def before(when: datetime) -> npt.NDArray[np.bool_]:
        return np.asarray(asked < to_us(when))

    fit = answered & (known <= to_us(time.cutoff)) & before(time.cutoff - time.gap)
    return {
        # Early stopping is judged as the model will be: on what came after everything it was fitted to,
        # so an answer that was still open at the boundary is not fitted to.
        "train": fit & before(boundary - time.gap) & (known <= to_us(boundary)),
        "validation": fit & ~before(boundary),
        "fit": fit,
        "test": answered & ~before(time.cutoff) & before(time.test_end),
    }


def evenly(rows: Rows, most: int) -> Rows:
    """Pick at most ``most`` rows at equal distances, always the same ones."""
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64)]


def days(questions: pa.Table) -> Rows:
    """The day, in UTC, on which each question was asked."""
    return microseconds(questions[EVENT_TIMESTAMP]) // _DAY_US


def microseconds(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Times as whole microseconds since 1970 UTC; a time that is not known yet is after all others."""
    return np.asarray(pc.fill_null(pc.cast(column, pa.int64()), _NEVER).to_numpy())


def _problems(side: str, labels: npt.NDArray[np.float64], spec: ModelSpec) -> Iterator[str]:
    if not len(labels):
        yield f"the {side} side has no answered question"
    elif spec.task == "binary" and labels.min() == labels.max():
        yield f"the {side} side's {len(labels)} answers are all {labels[0]:.0f}"
