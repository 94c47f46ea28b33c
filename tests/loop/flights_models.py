"""The flights, judged in every light that the table shows: honest, leaking, at other times, by other splits.

Each function trains on January to September and judges what came after, with the platform's own
parts. A frame holds two gigabytes, so the caller runs each in a process of its own.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from knownat.contract.model_spec import ModelSpec, read_spec
from knownat.contract.release import Interval
from knownat.contract.schema import Column, FeatureSchema
from knownat.contract.workspace import Workspace
from knownat.scoring.metrics import auc
from training.baselines import predict_baselines
from training.dataset import Dataset, Vector
from training.evaluation import measure_all
from training.examples import EVENT_TIMESTAMP
from training.fit import fit
from training.pipeline import Prepared, prepare
from training.split import Fold
from training.variant import Change, Variant, build_variant, lay_out_variant, read_variant

MODEL = "late_arrival"
Metrics = Mapping[str, Interval]
Say = Callable[[str], None]

_FLIGHT = ["carrier", "flight", "origin", "dest", "scheduled_departure_epoch_s"]
_HONEST_TEST = "honest_test.parquet"
_ASKED = "schedules.scheduled_departure - INTERVAL 2 HOURS"


def judge_honest(workspace: Workspace, work: Path, say: Say) -> dict[str, object]:
    """Judge the honest model and what it must beat.

    Writes the test side's frame below ``work``, for models that are served what was really known.
    """
    prepared = _prepare(workspace, say)
    spec, data, frame = prepared.spec, prepared.data, prepared.joined.frame
    pq.write_table(frame.take(data.fold.test), work / _HONEST_TEST)
    say("fit")
    model = fit(data, spec)
    scores = model.predict(data.matrix)[data.fold.test]
    # Without the delays of the day nothing but the season's late share is left to learn, and September,
    # which early stopping is judged by, is another season: it would stop after eight rounds.
    static = data.only(spec.static_columns)
    as_many = fit(static, _with_rounds(spec, model.best_iteration)).predict(static.matrix)[data.fold.test]
    logistic = predict_baselines(data, spec.model_copy(update={"baselines": ("logistic",)}), frame)
    return {
        "rows": {
            "static": _measure(prepared, as_many),
            "logistic": _measure(prepared, logistic["logistic"]),
            "honest": _measure(prepared, scores),
        },
        "months": auc_by_month(frame.take(data.fold.test), data.labels[data.fold.test], scores),
        "tested": len(data.fold.test),
        "base_rate": float(data.labels[data.fold.test].mean()),
        "columns": len(data.schema.columns),
    }


def judge_fooled(workspace: Workspace, work: Path, say: Say) -> dict[str, object]:
    """Judge two ways to fool oneself with the honest frame: a column from later, and a random split."""
    prepared = _prepare(workspace, say)
    spec, data = prepared.spec, prepared.data
    with_delay = _with_own_delay(prepared, workspace)
    anyhow = replace(prepared, data=replace(data, fold=shuffled(data.fold)))
    # Random rows tell on each other, so a model that is stopped by some of them stops later, and the row
    # would show two changes at once.
    as_many = _with_rounds(spec, fit(data, spec).best_iteration)
    return {
        "rows": {
            "own_delay": _measure(prepared, _fit(with_delay, spec, say)[data.fold.test]),
            "random_split": _measure(anyhow, _fit(anyhow.data, as_many, say)[anyhow.data.fold.test]),
        }
    }


def judge_leaking(workspace: Workspace, work: Path, say: Say, *, leaky: Path) -> dict[str, object]:
    """Judge the leaking variant offline, and served what was really known."""
    leaking = lay_out_variant(workspace, read_variant(leaky), work)
    say("build the leaking variant")
    build_variant(leaking)
    prepared = _prepare(leaking, say)
    data, test = prepared.data, prepared.data.fold.test
    model = fit(data, prepared.spec, report=lambda *_: None)
    honest = pq.read_table(work / _HONEST_TEST)
    asked = [*prepared.spec.examples.keys, EVENT_TIMESTAMP]
    if not honest.select(asked).equals(prepared.joined.frame.take(test).select(asked)):
        raise ValueError("The leaking variant asks other questions than the repo.")
    return {
        "rows": {
            "leaky_promised": _measure(prepared, model.predict(data.matrix[test])),
            "leaky_served": _measure(prepared, model.predict(data.schema.matrix(honest))),
        }
    }


def judge_at(workspace: Workspace, work: Path, say: Say, *, lead: str) -> dict[str, object]:
    """Judge the honest model when it is asked at another time before departure, such as ``6 HOURS``."""
    asked = lay_out_variant(workspace, _asked_at(lead), work)
    _share_tables(workspace, asked)
    build_variant(asked)
    prepared = _prepare(asked, say)
    scores = _fit(prepared.data, prepared.spec, say)[prepared.data.fold.test]
    return {"leads": {lead: _measure(prepared, scores)["auc"]}}


def shuffled(fold: Fold) -> Fold:
    """Split the same rows at random, into sides as large as those of the split by time."""
    rows = np.random.default_rng(2013).permutation(np.concatenate([fold.fit, fold.test]))
    test, fitted = np.sort(rows[: len(fold.test)]), rows[len(fold.test) :]
    held = len(fold.validation)
    return Fold(
        train=np.sort(fitted[held:]), validation=np.sort(fitted[:held]), fit=np.sort(fitted), test=test
    )


def auc_by_month(test: pa.Table, labels: Vector, scores: Vector) -> dict[str, float]:
    """Measure the AUC of each month of scheduled departure, on New York's clock."""
    departs = pl.Series(test["scheduled_departure_epoch_s"].to_numpy())
    local = pl.from_epoch(departs, time_unit="s").dt.replace_time_zone("UTC")
    month = local.dt.convert_time_zone("America/New_York").dt.strftime("%Y-%m").to_numpy()
    return {str(m): auc(labels[month == m], scores[month == m]) for m in np.unique(month)}


def _prepare(workspace: Workspace, say: Say) -> Prepared:
    spec = read_spec(workspace.model_file(MODEL))
    return prepare(workspace, spec, lambda stage, *_: say(stage))


def _fit(data: Dataset, spec: ModelSpec, say: Say) -> Vector:
    say("fit")
    return fit(data, spec).predict(data.matrix)


def _with_rounds(spec: ModelSpec, rounds: int) -> ModelSpec:
    fixed = {"num_boost_round": rounds, "early_stopping_rounds": 0}
    return spec.model_copy(update={"lightgbm": spec.lightgbm.model_copy(update=fixed)})


def _measure(prepared: Prepared, scores: Vector) -> Metrics:
    test = prepared.data.fold.test
    frame = prepared.joined.frame.take(test)
    return measure_all(prepared.spec, frame, labels=prepared.data.labels[test], scores=scores)


def _with_own_delay(prepared: Prepared, workspace: Workspace) -> Dataset:
    """Add each flight's own delay at departure: known two hours after the question, at the earliest."""
    departed = pl.read_parquet(workspace.data / "events" / "departures.parquet").select(
        *(name for name in _FLIGHT if name != "scheduled_departure_epoch_s"),
        pl.col("scheduled_departure").dt.epoch("s").alias("scheduled_departure_epoch_s"),
        pl.col("delay_min").cast(pl.Float64),
    )
    flights = pl.DataFrame(prepared.joined.frame.select(_FLIGHT))
    delay = flights.join(departed, on=_FLIGHT, how="left", maintain_order="left")["delay_min"].to_numpy()
    data = prepared.data
    columns = (*data.schema.columns, Column(name="departure_delay_min", dtype="float64"))
    matrix = np.column_stack([data.matrix, delay])
    return Dataset(FeatureSchema(columns=columns), matrix, data.labels, data.fold)


def _asked_at(lead: str) -> Variant:
    name = "asked_" + lead.lower().replace(" ", "_") + "_before"
    words = (f"{_ASKED} AS event_timestamp", f"epoch_us({_ASKED}) AS question_epoch_us")
    asked_then = _ASKED.replace("2 HOURS", lead)
    changes = tuple(
        Change(
            files=f"models/{MODEL}.sql", find=each, replace=each.replace(_ASKED, asked_then), why="Lead time."
        )
        for each in words
    )
    return Variant(name=name, description=f"The same question, asked {lead.lower()} before.", change=changes)


def _share_tables(workspace: Workspace, other: Workspace) -> None:
    """Give a variant with the same pipelines the tables that were built, as links to the same bytes."""
    shutil.rmtree(other.data, ignore_errors=True)
    ignored = shutil.ignore_patterns("registry*", "online_rows*")
    shutil.copytree(workspace.data, other.data, copy_function=os.link, ignore=ignored)
