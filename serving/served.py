"""What this process serves: one ready release a model, swapped while requests go on."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from knownat.contract.read_plan import ReadPlan, Status
from knownat.contract.release import Deployed, Deployment, read_deployment
from knownat.errors import KnownatError, ReleaseError
from knownat.scoring.row_program import ScoredRow
from serving.decoding import Decoder
from serving.errors import UnknownModel
from serving.log_rows import LogRows
from serving.prediction_log import RowLog
from serving.reading import Features
from serving.tallies import Tally

_logger = logging.getLogger(__name__)

Columns = Mapping[str, Sequence[object]]


class Scoring(Protocol):
    """What turns stored values and inputs into scores; :class:`knownat.scoring.scorer.Scorer` is one."""

    def columns(self, stored: Columns, inputs: Columns) -> dict[str, Sequence[object]]:
        """Add the on-demand outputs to stored values and request inputs."""
        ...

    def score(self, columns: Columns | pa.Table) -> npt.NDArray[np.float64]:
        """Score n rows of model columns."""
        ...

    def score_one(self, stored: Sequence[object], inputs: Sequence[object]) -> ScoredRow:
        """Score one row, its values and inputs in the plan's order."""
        ...


@dataclass(frozen=True)
class ServedModel:
    """A release that answers: its plan, its score, its features, its log and its books."""

    name: str
    version: str
    digest: str
    plan: ReadPlan
    scorer: Scoring
    features: Features
    log: RowLog
    decoder: Decoder
    log_rows: LogRows
    tally: Tally
    all_present: list[Status]
    """The statuses of a row of which every view has a current value."""
    time_at: int | None
    """Where among its inputs the question's time stands."""

    @classmethod
    def of(
        cls,
        deployed: Deployed,
        *,
        name: str,
        plan: ReadPlan,
        scorer: Scoring,
        features: Features,
        log: RowLog,
        new_id: Callable[[], str],
    ) -> Self:
        """Make a release ready to answer."""
        inputs = [i.name for i in plan.request_inputs]
        return cls(
            name=name,
            version=deployed.version,
            digest=deployed.digest,
            plan=plan,
            scorer=scorer,
            features=features,
            log=log,
            decoder=Decoder(plan, new_id=new_id),
            log_rows=LogRows(name, deployed.version, plan),
            tally=Tally(plan),
            all_present=[Status.PRESENT] * len(plan.views),
            time_at=inputs.index(plan.question_time_input) if plan.question_time_input is not None else None,
        )

    def inputs_at(self, sent: list[object], now_us: int) -> list[object]:
        """Return one row's inputs in the plan's order, the question's time among them."""
        if self.time_at is None:
            return sent
        return [*sent[: self.time_at], now_us, *sent[self.time_at :]]

    def columns_at(self, sent: Columns, rows: int, now_us: int) -> dict[str, Sequence[object]]:
        """Return n rows' inputs by name in the plan's order, the question's time among them."""
        now = [now_us] * rows
        names = [i.name for i in self.plan.request_inputs]
        return {name: now if name == self.plan.question_time_input else sent[name] for name in names}


Load = Callable[[str, Deployed], ServedModel]


class ServedModels:
    """The models of ``deployment.json``, each at the newest version that could be loaded."""

    def __init__(self, deployment: Path, load: Load) -> None:
        self._path = deployment
        self._load = load
        self._seen: tuple[int, int, int] | None = None
        self.current: Mapping[str, ServedModel] = {}
        """Replaced as a whole; a request holds on to the model it began with."""
        self.problems: Mapping[str, str] = {}
        """Why a model, or the file, could not be taken as it is now deployed."""

    def get(self, name: str) -> ServedModel:
        """Return a model.

        Raises
        ------
        UnknownModel
            If none of that name is served; the message lists those that are.
        """
        found = self.current.get(name)
        if found is None:
            raise UnknownModel(f"No such model is served; there are {sorted(self.current)}.")
        return found

    def refresh(self) -> bool:
        """Take up what is deployed now, if the file changed; return whether it had.

        A version that cannot be loaded is refused by name and the one before it serves on.
        """
        stamp = _stamp(self._path)
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            deployment = read_deployment(self._path)
        except ReleaseError as error:
            _logger.warning("%s", error)
            self.problems = {**self.problems, "deployment": str(error)}
            return True
        self.current, self.problems = self._take_up(deployment)
        return True

    def _take_up(self, deployment: Deployment) -> tuple[dict[str, ServedModel], dict[str, str]]:
        serving: dict[str, ServedModel] = {}
        problems: dict[str, str] = {}
        for name, versions in deployment.models.items():
            wanted, old = versions.champion, self.current.get(name)
            if old is not None and (old.version, old.digest) == (wanted.version, wanted.digest):
                serving[name] = old
                continue
            try:
                serving[name] = self._load(name, wanted)
                _logger.info("%s: version %s serves", name, wanted.version)
            except KnownatError as error:
                problems[name] = f"version {wanted.version} is refused: {error}"
                _logger.warning("%s: %s", name, problems[name])
                if old is not None:
                    serving[name] = old
        return serving, problems


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return (0, 0, 0)
    # Replaced by rename, so a new content has a new inode even within one tick of the clock.
    return (found.st_mtime_ns, found.st_ino, found.st_size)
