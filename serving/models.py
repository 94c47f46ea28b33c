"""What this process serves: the lineups of ``deployment.json``, swapped while requests go on."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from knownat.contract.release import Deployed, Deployment, ModelDeployment, read_deployment
from knownat.errors import KnownatError, ReleaseError
from serving.errors import UnknownModel
from serving.lineup import Lineup, gone, refuse_other_requests
from serving.served import ServedModel

_logger = logging.getLogger(__name__)

Load = Callable[[str, Deployed], ServedModel]
Key = tuple[str, str, str]


class ServedModels:
    """The models that are deployed, each version at the newest release that could be loaded."""

    def __init__(self, deployment: Path, load: Load) -> None:
        self._path = deployment
        self._load = load
        self._seen: tuple[int, int, int] | None = None
        self._retired: frozenset[str] = frozenset()
        self._alone = threading.Lock()
        self.current: Mapping[str, Lineup] = {}
        """Replaced as a whole; a request holds on to the lineup it began with."""
        self.problems: Mapping[str, str] = {}
        """Why a model, a version of it, or the file could not be taken as it is now deployed."""
        self.missing: frozenset[str] = frozenset()
        """Models that are deployed, and of which no version could be loaded."""

    def get(self, name: str) -> Lineup:
        """Return a model's lineup.

        Raises
        ------
        Gone
            If it was retired.
        UnknownModel
            If none of that name ever served here; the message lists those that do.
        """
        found = self.current.get(name)
        if found is not None:
            return found
        if name in self._retired:
            raise gone(f"The model '{name}' was retired.", name, None)
        raise UnknownModel(f"No such model is served; there are {sorted(self.current)}.")

    def served(self) -> Iterator[ServedModel]:
        """Every version of every model."""
        for lineup in list(self.current.values()):
            yield from lineup.models

    def refresh(self) -> bool:
        """Take up what is deployed now, if the file changed; return whether it had.

        A version that cannot be loaded is refused by name; of a champion, the one before it serves on.
        Whoever asks while another thread is at it waits, and then sees what came of it.
        """
        with self._alone:
            return self._refresh()

    def _refresh(self) -> bool:
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
        taking = _Taking(self._load, {_key(model): model for model in self.served()})
        self.current, self._retired = taking.take_up(deployment, self.current), frozenset(deployment.retired)
        self.problems = taking.problems
        self.missing = frozenset(deployment.models.keys() - self.current.keys())
        return True


@dataclass
class _Taking:
    """One look at the deployment: loads what is new, keeps what is loaded, notes what is refused."""

    load: Load
    loaded: dict[Key, ServedModel]
    problems: dict[str, str] = field(default_factory=dict)

    def take_up(self, deployment: Deployment, before: Mapping[str, Lineup]) -> dict[str, Lineup]:
        lineups = {name: self._lineup(name, versions, before) for name, versions in deployment.models.items()}
        return {name: lineup for name, lineup in lineups.items() if lineup is not None}

    def _lineup(self, name: str, wanted: ModelDeployment, before: Mapping[str, Lineup]) -> Lineup | None:
        champion = self._take(name, wanted.champion, name)
        if champion is None:
            if name not in before:
                return None
            champion = before[name].champion
        beside = champion
        challenger = None if wanted.challenger is None else self._beside(name, wanted.challenger, beside)
        return Lineup(
            name=name,
            champion=champion,
            challenger=challenger,
            challenger_share=wanted.challenger_share,
            shadows=_those(self._beside(name, shadow, beside) for shadow in wanted.shadow),
            pinned=_those(self._take(name, one, f"{name} {one.version}") for one in wanted.pinned),
            retired=frozenset(wanted.retired),
        )

    def _beside(self, name: str, wanted: Deployed, champion: ServedModel) -> ServedModel | None:
        """Take a version that is to answer the champion's requests."""
        model = self._take(name, wanted, f"{name} {wanted.version}")
        try:
            if model is not None:
                refuse_other_requests(champion.plan, model.plan)
        except ReleaseError as error:
            self._refuse(f"{name} {wanted.version}", wanted, error)
            return None
        return model

    def _take(self, name: str, wanted: Deployed, place: str) -> ServedModel | None:
        known = self.loaded.get((name, wanted.version, wanted.digest))
        if known is not None:
            return known
        try:
            model = self.load(name, wanted)
        except KnownatError as error:
            self._refuse(place, wanted, error)
            return None
        _logger.info("%s: version %s is loaded", name, wanted.version)
        return self.loaded.setdefault(_key(model), model)

    def _refuse(self, place: str, wanted: Deployed, error: KnownatError) -> None:
        self.problems[place] = f"version {wanted.version} is refused: {error}"
        _logger.warning("%s: %s", place, self.problems[place])


def _those(models: Iterable[ServedModel | None]) -> tuple[ServedModel, ...]:
    return tuple(model for model in models if model is not None)


def _key(model: ServedModel) -> Key:
    return (model.name, model.version, model.digest)


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return (0, 0, 0)
    # Replaced by rename, so a new content has a new inode even within one tick of the clock.
    return (found.st_mtime_ns, found.st_ino, found.st_size)
