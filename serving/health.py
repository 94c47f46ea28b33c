"""Whether this process should get traffic, found out by doing what a request does."""

import time
from dataclasses import dataclass, field

from serving.models import ServedModels
from serving.prediction_log import LogBook
from serving.served import ServedModel

_PROBE_SECONDS = 1.0


@dataclass
class Drain:
    """Set once this process was asked to stop."""

    begun: bool = False


@dataclass
class Readiness:
    """Answers whether models are loaded, the store can be read, and the log takes rows.

    A log that takes no rows is told but does not make the scorer unready: predictions are still right,
    and every lost row is counted.
    """

    models: ServedModels
    book: LogBook
    drain: Drain
    _probed: dict[str, tuple[float, str | None]] = field(default_factory=dict)

    async def look(self, now_us: int) -> tuple[bool, dict[str, object]]:
        """Return whether to send traffic, and why or why not."""
        models = {name: lineup.champion for name, lineup in self.models.current.items()}
        # While draining the answer is known, and must not wait behind the last reads.
        probed = {} if self.drain.begun else models
        store = {name: await self._store_problem(model, now_us) for name, model in probed.items()}
        ready = bool(models) and not self.models.missing and not any(store.values())
        ready = ready and not self.drain.begun
        return ready, {
            "ready": ready,
            "draining": self.drain.begun,
            "models": {name: model.version for name, model in models.items()},
            "refused": dict(self.models.problems),
            "store": {name: problem or "readable" for name, problem in store.items()},
            "log": self.book.problems() or "writable",
        }

    async def _store_problem(self, model: ServedModel, now_us: int) -> str | None:
        probed_at, problem = self._probed.get(model.name, (0.0, None))
        if model.name in self._probed and time.monotonic() - probed_at < _PROBE_SECONDS:
            return problem
        problem = await model.features.problem(now_us, _PROBE_SECONDS)
        self._probed[model.name] = (time.monotonic(), problem)
        return problem
