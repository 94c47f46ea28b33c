"""Explanations beside the answers: on one thread, from a bounded queue, with boosters of their own."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from knownat.contract.release import read_release
from knownat.errors import KnownatError
from knownat.scoring.contributions import Explained, Explainer
from serving.errors import ExplainFailed, ExplainOverloaded
from serving.lanes import Claim, Lane
from serving.served import ServedModel

T = TypeVar("T")

MAX_EXPLAINED_ROWS = 100
"""A row takes hundreds of times as long to explain as to score."""
_MOST_WAITING = 8
_SECONDS = 10.0
_MOST_LOADED = 8


class Explaining:
    """Explains what served models were fed. Only :meth:`run`'s thread loads and asks the explainers."""

    def __init__(
        self, releases: Path, *, most_waiting: int = _MOST_WAITING, seconds: float = _SECONDS
    ) -> None:
        self._releases = releases
        self._lane = Lane("explain", deadline=seconds)
        self._most_waiting = most_waiting
        self._waiting = 0
        self._loaded: OrderedDict[str, Explainer] = OrderedDict()
        self.seconds = seconds
        self.shed = 0
        """Requests that found no room."""

    async def run(self, call: Callable[[], T], *, claim: Claim | None = None) -> T:
        """Run a call on the explainers' thread.

        Raises
        ------
        ExplainOverloaded
            If too many wait before it.
        LaneFailed, ApiError, KnownatError
            As :meth:`Lane.run` does.
        """
        if self._waiting >= self._most_waiting:
            self.shed += 1
            raise ExplainOverloaded("More explanations wait here than can be made in time. Ask again later.")
        self._waiting += 1
        try:
            return await self._lane.run(call, claim=claim)
        finally:
            self._waiting -= 1

    def explain(self, model: ServedModel, columns: Mapping[str, Sequence[object]]) -> Explained:
        """Explain n rows of a served release's columns.

        Raises
        ------
        ExplainFailed
            If the release cannot be explained, or its contributions do not make its raw score.
        """
        try:
            return self._explainer(model).explain(columns)
        except KnownatError as error:
            why = type(error).__name__
            raise ExplainFailed(f"'{model.name}' {model.version} could not be explained: {why}.") from error

    def close(self) -> None:
        """Let the thread go."""
        self._lane.close()

    def _explainer(self, model: ServedModel) -> Explainer:
        found = self._loaded.get(model.digest)
        if found is None:
            release = read_release(self._releases / model.name / model.version, digest=model.digest)
            found = self._loaded[model.digest] = Explainer.load(release)
            if len(self._loaded) > _MOST_LOADED:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(model.digest)
        return found
