"""Make a release ready to answer, after another process has survived loading it."""

import itertools
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from knownat.contract.prediction_log import prediction_schema
from knownat.contract.pseudonyms import Pseudonyms
from knownat.contract.read_plan import FeatureReader, ReadPlan
from knownat.contract.release import Deployed, read_release
from knownat.errors import ReleaseError
from knownat.scoring.scorer import Scorer
from knownat.scoring.trial import trial_load
from serving.lanes import Lane
from serving.prediction_log import LogBook
from serving.reading import features_of
from serving.served import ServedModel

OpenReader = Callable[[ReadPlan], FeatureReader]

# A reader on a thread knows no deadline of its own.
_READ_SECONDS = 10.0


def request_ids() -> Callable[[], str]:
    """Return what names requests that came without a name: random for a process, then counted on."""
    numbers = itertools.count(secrets.randbits(63))
    return lambda: f"{next(numbers):016x}"


@dataclass(frozen=True)
class ReleaseLoader:
    """Loads releases below a folder, with their features and their log."""

    releases: Path
    open_reader: OpenReader
    book: LogBook
    trial: Callable[[Path, str], None] = trial_load
    pseudonyms: Pseudonyms | None = None
    """What keys are hashed with where a model declares them pseudonymous."""
    reading: Lane = field(default_factory=lambda: Lane("read", deadline=_READ_SECONDS))
    new_id: Callable[[], str] = field(default_factory=request_ids)

    def __call__(self, model: str, deployed: Deployed) -> ServedModel:
        """Load the version whose manifest has the deployed digest.

        Raises
        ------
        ReleaseError
            If the trial load fails, a byte is not the manifest's, or the release is of another model.
        LogError
            If its log cannot be opened.
        """
        path = self.releases / model / deployed.version
        self.trial(path, deployed.digest)
        release = read_release(path, digest=deployed.digest)
        if release.manifest.model != model:
            raise ReleaseError(f"{path} is a release of '{release.manifest.model}', not of '{model}'.")
        plan, hidden = release.plan, release.manifest.spec.serving.pseudonymous_keys
        if hidden and self.pseudonyms is None:
            raise ReleaseError(
                f"{path}: the log is to hold {list(hidden)} as keyed hashes, and there is no secret. "
                "Start the scorer with --pseudonym-key FILE."
            )
        return ServedModel.of(
            deployed,
            spec=release.manifest.spec,
            plan=plan,
            scorer=Scorer.load(release),
            features=features_of(plan, self.open_reader(plan), self.reading),
            log=self.book.predictions(model, deployed.version, prediction_schema(plan, hidden)),
            new_id=self.new_id,
            pseudonyms=self.pseudonyms,
        )
