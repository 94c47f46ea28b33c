"""Make a release ready to answer, after another process has survived loading it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from knownat.contract.prediction_log import prediction_schema
from knownat.contract.read_plan import FeatureReader, ReadPlan
from knownat.contract.release import Deployed, read_release
from knownat.errors import ReleaseError
from knownat.scoring.scorer import Scorer
from knownat.scoring.trial import trial_load
from serving.prediction_log import LogBook
from serving.served import ServedModel

OpenReader = Callable[[ReadPlan], FeatureReader]


@dataclass(frozen=True)
class ReleaseLoader:
    """Loads releases below a folder, with their features and their log."""

    releases: Path
    open_reader: OpenReader
    book: LogBook
    trial: Callable[[Path, str], None] = trial_load

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
        if release.manifest.spec.task == "multiclass":
            raise ReleaseError(f"{path}: a multiclass model has no single score to serve; score it in batch.")
        plan = release.plan
        return ServedModel(
            name=model,
            version=deployed.version,
            digest=deployed.digest,
            plan=plan,
            scorer=Scorer.load(release),
            reader=self.open_reader(plan),
            log=self.book.predictions(model, deployed.version, prediction_schema(plan)),
        )
