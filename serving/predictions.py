"""From a question and the rows it read to an answer and its log rows."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from knownat.clock import Clock
from knownat.contract.prediction_log import prediction_schema
from knownat.contract.read_plan import ReadResult, Status
from knownat.errors import RowsNotConserved
from serving.prediction_ids import PredictionIds
from serving.questions import Question
from serving.served import Columns, ServedModel


@dataclass(frozen=True)
class Moment:
    """When a question was asked: the time it is answered for, and a stopwatch's start."""

    now_us: int
    started_ns: int

    @property
    def elapsed_us(self) -> int:
        """Microseconds since the request arrived."""
        return (time.perf_counter_ns() - self.started_ns) // 1_000


@dataclass(frozen=True)
class Answer:
    """n predictions of one request, in its order."""

    ids: list[str]
    scores: list[float]
    degraded: list[bool]
    read: ReadResult


def predict(
    model: ServedModel,
    question: Question,
    read: ReadResult,
    *,
    moment: Moment,
    ids: PredictionIds,
    clock: Clock,
) -> Answer:
    """Score what was read and log it; when this returns, each row is in the journal or counted as dropped.

    Raises
    ------
    RowsNotConserved
        If the read gave other rows than the question asked for.
    """
    _refuse_other_rows(read, question.rows)
    inputs = dict(question.inputs)
    if (question_time := model.plan.question_time_input) is not None:
        inputs[question_time] = [moment.now_us] * question.rows
    columns = model.scorer.columns(read.values, inputs)
    scores = model.scorer.score(columns)
    answer = Answer(
        ids.issue(model.name, question.rows), scores.tolist(), _degraded(read, question.rows), read
    )
    fed = {**columns, **inputs}
    model.log.append(_log_rows(model, question, answer, fed, moment=moment, logged_us=clock.now_us()))
    return answer


def nothing_was_read(read: ReadResult) -> bool:
    """Whether the store could not be asked for a single row of a single view."""
    statuses = [status for column in read.status.values() for status in column]
    return bool(statuses) and all(status is Status.UNAVAILABLE for status in statuses)


def document(model: ServedModel, question: Question, answer: Answer, now_us: int) -> dict[str, object]:
    """Lay an answer out as it goes over the wire."""
    views = [
        [
            {"status": status, "age_seconds": None if event is None else (now_us - event) / 1e6}
            for status, event in zip(
                answer.read.status[view.name], answer.read.event_us[view.name], strict=True
            )
        ]
        for view in model.plan.views
    ]
    names = [view.name for view in model.plan.views]
    return {
        "model": model.name,
        "version": model.version,
        "request_id": question.request_id,
        "predictions": [
            {
                "prediction_id": prediction_id,
                "score": score,
                "degraded": degraded,
                "views": {name: view[row] for name, view in zip(names, views, strict=True)},
            }
            for row, (prediction_id, score, degraded) in enumerate(
                zip(answer.ids, answer.scores, answer.degraded, strict=True)
            )
        ],
    }


def _refuse_other_rows(read: ReadResult, rows: int) -> None:
    for columns in (read.values, read.event_us, read.created_us, read.status):
        for name, column in columns.items():
            if len(column) != rows:
                raise RowsNotConserved(f"'{name}' came back with {len(column)} rows for {rows} entities.")


def _degraded(read: ReadResult, rows: int) -> list[bool]:
    """Whether any view of a row gave no current value: the model then answers from what is left."""
    return [any(status[row] is not Status.PRESENT for status in read.status.values()) for row in range(rows)]


def _log_rows(
    model: ServedModel,
    question: Question,
    answer: Answer,
    fed: Columns,
    *,
    moment: Moment,
    logged_us: int,
) -> list[tuple[object, ...]]:
    read, rows = answer.read, question.rows
    known: dict[str, Sequence[object]] = {
        "prediction_id": answer.ids,
        "request_id": [question.request_id] * rows,
        "logged_at": [logged_us] * rows,
        "event_timestamp": [moment.now_us] * rows,
        "model": [model.name] * rows,
        "version": [model.version] * rows,
        "role": [model.role.value] * rows,
        "degraded": answer.degraded,
        "score": answer.scores,
    }
    known |= {f"key__{name}": values for name, values in question.keys.items()}
    known |= {f"input__{i.name}": fed[i.name] for i in model.plan.request_inputs}
    for view in model.plan.views:
        served = f"served__{view.name}__"
        known[f"{served}event_timestamp"] = read.event_us[view.name]
        known[f"{served}created_timestamp"] = read.created_us[view.name]
        known[f"{served}status"] = [status.value for status in read.status[view.name]]
    known["latency_us"] = [moment.elapsed_us] * rows
    schema = prediction_schema(model.plan)
    columns = [_as_logged(field.type, known.get(field.name, fed.get(field.name, ()))) for field in schema]
    return list(zip(*columns, strict=True))


def _as_logged(kind: pa.DataType, values: Sequence[object]) -> Sequence[object]:
    """Undo what Feast and NumPy make of values: integers that came as floats, scalars with a dtype."""
    if kind == pa.int64():
        return [_integer(value) for value in values]
    return [value.item() if isinstance(value, np.generic) else value for value in values]


def _integer(value: object) -> object:
    if isinstance(value, float):
        if math.isnan(value):  # a null among integers arrives so
            return None
        return int(value) if value.is_integer() else value
    return value.item() if isinstance(value, np.generic) else value
