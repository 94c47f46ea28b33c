"""A release that nobody promoted, served on its own for people to look at."""

from dataclasses import dataclass
from pathlib import Path

from knownat.contract.prediction_log import Role
from knownat.contract.release import Deployed, read_release
from serving.decoding import OneQuestion
from serving.lineup import Lineup
from serving.models import Load, ServedModels
from serving.questions import Question
from serving.served import ServedModel


@dataclass(frozen=True)
class CandidateLineup(Lineup):
    """One version, whose rows are logged as pinned: nobody may take them for production's."""

    promoted: bool = False

    def choose(self, question: OneQuestion | Question) -> tuple[ServedModel, Role]:
        """Choose the candidate."""
        del question
        return self.champion, Role.PINNED


class CandidateModels(ServedModels):
    """Serves one release, whatever is deployed meanwhile."""

    def __init__(self, releases: Path, load: Load, model: str, version: str) -> None:
        super().__init__(releases, load)
        digest = read_release(releases / model / version).digest
        candidate = load(model, Deployed(version=version, digest=digest))
        self.current = {model: CandidateLineup(model, candidate)}

    def refresh(self) -> bool:
        """Change nothing."""
        return False
