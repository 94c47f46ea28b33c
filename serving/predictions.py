"""From a question and the rows it read to an answer and its log rows."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import NamedTuple

import msgspec

from knownat.clock import Clock
from knownat.contract.prediction_log import Role
from knownat.contract.read_plan import ReadResult, Status
from knownat.errors import RowsNotConserved
from knownat.stores.packed_read import OneRow
from serving.decoding import OneQuestion
from serving.errors import DeadlineExceeded
from serving.lanes import Claim
from serving.log_rows import Answered, Asked
from serving.prediction_ids import PredictionIds
from serving.questions import Question
from serving.served import ServedModel

encode = msgspec.json.Encoder().encode


class Moment(NamedTuple):
    """When a question was asked: the time it is answered for, and a stopwatch's start."""

    now_us: int
    started_ns: int
    deadline_ns: int
    claim: Claim | None = None
    """Where an answer is made beside the loop that waits for it: whose turn it is to end the request."""

    @property
    def seconds_left(self) -> float:
        """How much of the request's time is left; not below zero."""
        return max(0.0, (self.deadline_ns - time.perf_counter_ns()) / 1e9)

    def may_be_answered(self) -> bool:
        """Whether somebody still waits; who is told so, answers."""
        return bool(self.seconds_left) and (self.claim is None or self.claim.take())

    @property
    def elapsed_us(self) -> int:
        """Microseconds since the request arrived."""
        return (time.perf_counter_ns() - self.started_ns) // 1_000


@dataclass(frozen=True)
class ManyAnswered:
    """The answer to many rows, and what is to be counted of it."""

    content: bytes
    read: ReadResult
    degraded: Sequence[bool]
    elapsed_us: int


class ScoredOne(NamedTuple):
    """One row's score, and what is to be logged, counted and answered of it."""

    model: ServedModel
    request_id: str
    prediction_id: str
    row: OneRow
    score: float
    shares: Sequence[float]
    degraded: bool
    now_us: int
    elapsed_us: int
    logged: list[object]


@dataclass(frozen=True)
class Answering:
    """Makes answers; when one returns, its rows are in the journal or counted as dropped."""

    ids: PredictionIds
    clock: Clock

    def one(
        self, model: ServedModel, role: Role, question: OneQuestion, row: OneRow, moment: Moment
    ) -> bytes:
        """Score one row, log it and count it.

        Raises
        ------
        KnownatError
            If the release cannot score the row.
        """
        scored = self.score(model, role, question, row, moment)
        model.log.append_one(scored.logged)
        return content_of(scored)

    def score(
        self, model: ServedModel, role: Role, question: OneQuestion, row: OneRow, moment: Moment
    ) -> ScoredOne:
        """Score one row; before it is answered, what is to be logged must be.

        Raises
        ------
        KnownatError
            If the release cannot score the row.
        """
        now_us = moment.now_us
        inputs = model.inputs_at(question.inputs, now_us)
        found = model.scorer.score_one(row.values, inputs)
        scores = found.scores
        # Of a multiclass model the score is the share of the likeliest class.
        score, shares = (scores[0], ()) if len(scores) == 1 else (max(scores), scores)
        prediction_id = self.ids.issue_one(model.name)
        degraded = row.status != model.all_present
        elapsed_us = moment.elapsed_us
        logged = model.log_rows.one(
            Asked(question.request_id, self.clock.now_us(), now_us, role, elapsed_us),
            (prediction_id, degraded, score),
            keys=question.keys.values(),
            inputs=inputs,
            row=row,
            made=found.made,
            shares=shares,
        )
        return ScoredOne(
            model,
            question.request_id,
            prediction_id,
            row,
            score,
            shares,
            degraded,
            now_us,
            elapsed_us,
            logged,
        )

    def many(
        self, model: ServedModel, role: Role, question: Question, read: ReadResult, moment: Moment
    ) -> ManyAnswered:
        """Score n rows together, in their order, and log them; :func:`count` counts them.

        Raises
        ------
        RowsNotConserved
            If the read gave other rows than the question asked for.
        KnownatError
            If the release cannot score the rows.
        """
        rows, now_us = question.rows, moment.now_us
        _refuse_other_rows(read, rows)
        inputs = model.columns_at(question.inputs, rows, now_us)
        columns = model.scorer.columns(read.values, inputs)
        given = model.scorer.score(columns)
        shares: list[Sequence[float]] = given.tolist() if given.ndim == 2 else []
        scores: list[float] = (given.max(axis=1) if shares else given).tolist()
        statuses = [read.status[view] for view in model.tally.views]
        degraded = [list(row) != model.all_present for row in zip(*statuses, strict=True)] or [False] * rows
        if role is not Role.SHADOW and not moment.may_be_answered():
            # Nobody waits for it any more, so it must not be logged as answered.
            raise DeadlineExceeded(f"'{model.name}' could not answer in time. Ask again, or fewer rows.")
        answered = Answered(self.ids.issue(model.name, rows), degraded, scores, shares)
        elapsed_us = moment.elapsed_us
        asked = Asked(question.request_id, self.clock.now_us(), now_us, role, elapsed_us)
        fed = {**columns, **inputs}
        model.log.append(
            model.log_rows.many(asked, answered, keys=question.keys, read=read, columns=fed, inputs=[*inputs])
        )
        events = zip(*(read.event_us[view] for view in model.tally.views), strict=True)
        views = [_views(model, *row, now_us) for row in zip(events, zip(*statuses, strict=True), strict=True)]
        by_row = zip(answered.ids, scores, degraded, views, shares or [()] * rows, strict=True)
        predictions = list(starmap(_prediction, by_row))
        return ManyAnswered(_document(model, question.request_id, predictions), read, degraded, elapsed_us)


def content_of(scored: ScoredOne) -> bytes:
    """Count one row that was logged, and lay out its answer."""
    model, row, now_us = scored.model, scored.row, scored.now_us
    model.tally.add(now_us, row.event_us, row.status, degraded=scored.degraded)
    model.tally.observe(scored.elapsed_us)
    views = _views(model, row.event_us, row.status, now_us)
    answer = _prediction(scored.prediction_id, scored.score, scored.degraded, views, scored.shares)
    return _document(model, scored.request_id, [answer])


def count(model: ServedModel, answer: ManyAnswered, now_us: int) -> None:
    """Add an answer of many rows to its model's tally; only the event loop's thread does."""
    model.tally.add_many(now_us, answer.read, answer.degraded)
    model.tally.observe(answer.elapsed_us)


def count_shadow(model: ServedModel, answer: ManyAnswered, now_us: int) -> None:
    """Add what a shadow scored to its own tally; only the shadows' thread does."""
    model.shadow_tally.add_many(now_us, answer.read, answer.degraded)
    model.shadow_tally.observe(answer.elapsed_us)


def _document(model: ServedModel, request_id: str, predictions: list[dict[str, object]]) -> bytes:
    named = {"model": model.name, "version": model.version, "request_id": request_id}
    return encode({**named, "predictions": predictions})


def _prediction(
    prediction_id: str, score: float, worse: bool, views: dict[str, object], shares: Sequence[float] = ()
) -> dict[str, object]:
    answer: dict[str, object] = {"prediction_id": prediction_id, "score": score, "degraded": worse}
    if shares:
        answer |= {"class": shares.index(score), "shares": shares}
    answer["views"] = views
    return answer


def _views(
    model: ServedModel, event_us: Sequence[int | None], status: Sequence[Status], now_us: int
) -> dict[str, object]:
    return {
        view: {"status": found, "age_seconds": None if event is None else (now_us - event) / 1e6}
        for view, found, event in zip(model.tally.views, status, event_us, strict=True)
    }


def _refuse_other_rows(read: ReadResult, rows: int) -> None:
    for columns in (read.values, read.event_us, read.created_us, read.status):
        for name, column in columns.items():
            if len(column) != rows:
                raise RowsNotConserved(f"'{name}' came back with {len(column)} rows for {rows} entities.")
