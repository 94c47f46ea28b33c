"""Versions that score what the champion answered, for nobody to see: on a thread, from a bounded queue.

A shadow reads its own features and its rows are logged under its own role. What it takes never delays
an answer: a request is only put into the queue, after its answer has left; when the queue is full it is
dropped, and counted. LightGBM scores without the interpreter's lock.
"""

import logging
import queue
import threading
from collections import Counter
from dataclasses import dataclass

from knownat.contract.prediction_log import Role
from knownat.errors import KnownatError
from serving.decoding import OneQuestion
from serving.errors import ApiError
from serving.lanes import LaneFailed
from serving.lineup import Lineup
from serving.predictions import Answering, Moment, count_shadow
from serving.questions import Question
from serving.reading import ReadFailed
from serving.served import ServedModel

_logger = logging.getLogger(__name__)

_WAITING_REQUESTS = 1_000
_STOP_SECONDS = 5.0


@dataclass(frozen=True)
class _Task:
    lineup: Lineup
    question: Question
    moment: Moment


class Shadows:
    """The thread on which shadows score; it starts with the first request that has one."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._waiting: queue.Queue[_Task | None] = queue.Queue(_WAITING_REQUESTS)
        self._thread: threading.Thread | None = None
        self.dropped: Counter[str] = Counter()
        """Requests by model that a shadow did not get to see."""
        self.failed: Counter[str] = Counter()
        """Requests by model that a shadow could not score."""

    def offer(self, lineup: Lineup, question: OneQuestion | Question, moment: Moment) -> None:
        """Let a model's shadows score a request that was answered."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="shadows", daemon=True)
            self._thread.start()
        asked = question if isinstance(question, Question) else question.together(lineup.champion.plan)
        try:
            self._waiting.put_nowait(_Task(lineup, asked, moment))
        except queue.Full:
            self.dropped[lineup.name] += 1

    def close(self) -> None:
        """Let the thread finish what waits, for a few seconds at most."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(_STOP_SECONDS)

    def _work(self) -> None:
        while (task := self._waiting.get()) is not None:
            for model in task.lineup.shadows:
                self._score(model, task)

    def _score(self, model: ServedModel, task: _Task) -> None:
        try:
            read = model.features.many(task.question.keys, task.moment.now_us)
            answer = self._answering.many(model, Role.SHADOW, task.question, read, task.moment)
        except (ApiError, KnownatError, LaneFailed, ReadFailed) as error:
            self.failed[model.name] += 1
            _logger.warning("%s %s as shadow: %s", model.name, model.version, type(error).__name__)
        else:
            count_shadow(model, answer, task.moment.now_us)
