"""Suspicions: what a leak looks like from outside, told in plain words.

A suspicion is no proof. Whoever has looked into one writes down why it is honest, in the
declaration's ``[leaks.accepted]``, and it is kept on record.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from knownat.contract.model_spec import ModelSpec
from knownat.contract.read_plan import Status
from training.dataset import Dataset, Vector
from training.examples import LABEL, LABEL_TIMESTAMP
from training.frame import Joined
from training.split import Rows, evenly, microseconds
from training.strength import Strength, as_yes_or_no, judged_alone, strength

ALONE = 0.95
"""A column alone that surely ranks better than this."""
MISSING = 0.75
"""Whether a column is empty that surely ranks better than this."""
SPLIT_GAP = 0.10
"""By how much a random split may surely outrank a split by time."""
NEAR, NEAR_GAP = 0.85, 0.10
"""How well a column may surely rank just before the answer, and by how much better than earlier."""

_MOST_ROWS = 40_000
_SPLIT_ROWS = 20_000
_FEWEST = 40
_PURE = 1e-12
_PARAMETERS = {
    "objective": "binary",
    "learning_rate": 0.15,
    "num_leaves": 15,
    "min_data_in_leaf": 20,
    "num_threads": 1,
    "deterministic": True,
    "force_col_wise": True,
    "seed": 1,
    "verbosity": -1,
}
_ROUNDS = 40


@dataclass(frozen=True)
class Suspicion:
    """One thing that looks like a leak; ``accepted`` says why it is none, if somebody looked."""

    test: str
    subject: str
    value: float
    bound: float
    words: str
    accepted: str | None = None


def suspect(spec: ModelSpec, joined: Joined, data: Dataset, asked: pa.Table) -> tuple[Suspicion, ...]:
    """Look at what was known by the cutoff for whatever looks like a leak."""
    rows = evenly(data.fold.fit, _MOST_ROWS)
    answers = as_yes_or_no(data.labels, spec)[rows]
    columns = {
        column.name: _Column(data.matrix[rows, place], column.dtype == "category")
        for place, column in enumerate(data.schema.columns)
    }
    found = [
        *_too_good_alone(columns, answers),
        *_missing_tells(columns, answers),
        *_better_just_before(columns, answers, joined, rows),
        *_random_beats_time(spec, data),
        *_no_answer_tells(spec, asked),
    ]
    return tuple(_with_reason(suspicion, spec) for suspicion in found)


@dataclass(frozen=True)
class _Column:
    values: Vector
    categorical: bool

    def judge(self, answers: Vector) -> Vector:
        return judged_alone(self.values, answers, categorical=self.categorical)


def _too_good_alone(columns: dict[str, _Column], answers: Vector) -> Iterator[Suspicion]:
    later = answers[len(answers) // 2 :]
    for name, column in columns.items():
        found = strength(column.judge(answers), later)
        if found.low >= ALONE:
            yield Suspicion(
                "too good alone",
                name,
                found.auc,
                ALONE,
                f"Column '{name}' alone tells the answer (AUC {found.auc:.3f}). Features that were known "
                "beforehand rarely do; is it a part of the answer?",
            )


def _missing_tells(columns: dict[str, _Column], answers: Vector) -> Iterator[Suspicion]:
    base = float(answers.mean())
    for name, column in columns.items():
        missing = np.isnan(column.values)
        count = int(missing.sum())
        if not _FEWEST <= count <= len(missing) - _FEWEST:
            continue
        share = float(answers[missing].mean())
        found = strength(missing.astype(np.float64) * (1 if share > base else -1), answers)
        pure = share in (0.0, 1.0) and (base if share else 1 - base) ** count < _PURE
        if found.low >= MISSING or pure:
            yield Suspicion(
                "missingness tells",
                name,
                found.auc,
                MISSING,
                f"Where column '{name}' is empty, {share:.1%} of the answers are yes, against {base:.1%} of "
                f"all ({count:,} rows). Was it emptied, or filled, by what happened later?",
            )


def _better_just_before(
    columns: dict[str, _Column], answers: Vector, joined: Joined, rows: Rows
) -> Iterator[Suspicion]:
    half = len(rows) // 2
    known = microseconds(joined.frame[LABEL_TIMESTAMP])[rows]
    for view in joined.plan.views:
        created = pc.fill_null(joined.rows[f"{view.name}__created_timestamp"].cast(pa.int64()), 0)
        present = pc.equal(joined.rows[f"{view.name}__status"], str(Status.PRESENT)).to_numpy()[rows][half:]
        lead = (known - created.to_numpy()[rows])[half:]
        if present.sum() < 10 * _FEWEST:
            continue
        near = present & (lead <= np.quantile(lead[present], 0.1))
        for name in (view.column(feature.name) for feature in view.features):
            if name in columns:
                yield from _compare_near(name, columns[name].judge(answers), answers[half:], near, present)


def _compare_near(
    name: str, scores: Vector, answers: Vector, near: np.ndarray, present: np.ndarray
) -> Iterator[Suspicion]:
    close, far = (strength(scores[where], answers[where]) for where in (near, present & ~near))
    if close.low >= NEAR and close.low - far.high >= NEAR_GAP:
        yield Suspicion(
            "better just before the answer",
            name,
            close.auc,
            far.auc + NEAR_GAP,
            f"Column '{name}' tells the answer far better where it was written just before it "
            f"(AUC {close.auc:.3f}) than elsewhere ({far.auc:.3f}). Is it written by what makes the answer?",
        )


def _random_beats_time(spec: ModelSpec, data: Dataset) -> Iterator[Suspicion]:
    rows = evenly(data.fold.fit, _SPLIT_ROWS)
    by_time, at_random = split_strengths(data.matrix[rows], as_yes_or_no(data.labels, spec)[rows])
    if at_random.low - by_time.high >= SPLIT_GAP:
        yield Suspicion(
            "a random split beats a split by time",
            "split",
            at_random.auc - by_time.auc,
            SPLIT_GAP,
            f"Judged on random rows the columns rank with AUC {at_random.auc:.3f}, judged on what came later "
            f"with {by_time.auc:.3f}. Rows that share a day or a subject tell on each other: does a column "
            "hold what was learned from the answers?",
        )


def split_strengths(matrix: Vector, answers: Vector) -> tuple[Strength, Strength]:
    """Fit to two thirds of rows in time order and judge the rest: the last third, and a random third."""
    count = len(answers)
    test = np.arange(count) >= 2 * count // 3
    shuffled = np.random.default_rng(7).permutation(test)
    by_time, at_random = (_judge(matrix, answers, held_out) for held_out in (test, shuffled))
    return by_time, at_random


def _judge(matrix: Vector, answers: Vector, held_out: np.ndarray) -> Strength:
    if len(np.unique(answers[~held_out])) < 2:
        return Strength(float("nan"), float("nan"), float("nan"), 0)
    rows = lightgbm.Dataset(np.ascontiguousarray(matrix[~held_out]), label=answers[~held_out])
    booster = lightgbm.train(dict(_PARAMETERS), rows, num_boost_round=_ROUNDS)
    scores = np.asarray(booster.predict(matrix[held_out], num_threads=1), dtype=np.float64)
    return strength(scores, answers[held_out])


def _no_answer_tells(spec: ModelSpec, asked: pa.Table) -> Iterator[Suspicion]:
    unanswered = pc.is_null(asked[LABEL]).to_numpy()
    base = float(unanswered.mean())
    for name in (*spec.examples.keys, *spec.examples.inputs):
        missing = pc.is_null(asked[name]).to_numpy()
        count = int(missing.sum())
        # Where most are answered, chance leaves so many unanswered once in 10^12 times.
        if count >= _FEWEST and base < 0.5 and unanswered[missing].all():
            yield Suspicion(
                "missingness tells",
                name,
                1.0,
                base,
                f"None of the {count:,} questions without '{name}' was ever answered; of all, {base:.1%} "
                "were not. It was emptied by what happened later.",
            )


def too_good(spec: ModelSpec, value: float) -> tuple[Suspicion, ...]:
    """Suspect a model that is better than its declaration takes for possible."""
    bound = spec.leaks.too_good
    if bound is None or (value <= bound if spec.direction == "higher" else value >= bound):
        return ()
    words = (
        f"The model's {spec.metric} is {value:.4f}; its declaration takes whatever is better than {bound:g} "
        "for a leak until shown otherwise."
    )
    return (_with_reason(Suspicion("too good to be true", "metric", value, bound, words), spec),)


def _with_reason(suspicion: Suspicion, spec: ModelSpec) -> Suspicion:
    return replace(suspicion, accepted=spec.leaks.accepted.get(suspicion.subject))
