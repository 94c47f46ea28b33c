"""Why a score is what it is: what each column added to it, checked against the score itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from knownat.contract.release import MODEL, Release
from knownat.contract.schema import FeatureSchema
from knownat.errors import ReleaseError
from knownat.scoring.booster import Booster

SUM_TOLERANCE = 1e-9
"""Largest part of the contributions' own size by which their sum may miss the raw score."""

Scale = Literal["log_odds", "score"]
"""What the contributions add up on: log odds for a probability, else the score's own unit."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Explained:
    """n rows explained: ``base + contributions`` of a row is its ``raw``, on the model's scale."""

    columns: tuple[str, ...]
    scale: Scale
    contributions: Floats
    """Shape (n, columns)."""
    base: Floats
    raw: Floats


@dataclass(frozen=True)
class Explainer:
    """Explains one release with a booster of its own, so that no score waits for an explanation."""

    schema: FeatureSchema
    booster: Booster
    scale: Scale

    @classmethod
    def load(cls, release: Release) -> Self:
        """Load the model of a verified release once more.

        Raises
        ------
        ReleaseError
            If it has several outputs: there is no one score to explain.
        """
        booster = Booster.from_bytes(release.read_bytes(MODEL))
        if booster.num_outputs != 1:
            raise ReleaseError(f"{release.path}: a model of {booster.num_outputs} outputs is not explained.")
        scale: Scale = "log_odds" if release.manifest.spec.task == "binary" else "score"
        return cls(release.manifest.feature_schema, booster, scale)

    def explain(self, columns: Mapping[str, Sequence[object]]) -> Explained:
        """Explain n rows of model columns.

        Raises
        ------
        SchemaMismatch
            If a model column is missing or holds values of another type.
        ReleaseError
            If the contributions do not add up to the raw score.
        """
        matrix = self.schema.matrix(columns)
        found, raw = self.booster.contributions(matrix), self.booster.predict_raw(matrix)[:, 0]
        refuse_other_sums(found, raw)
        return Explained(self.schema.names, self.scale, found[:, :-1], found[:, -1], raw)


def refuse_other_sums(contributions: Floats, raw: Floats) -> None:
    """Check that each row's contributions and base, shape (n, columns + 1), make its raw score.

    Raises
    ------
    ReleaseError
        If one misses it by more than rounding can.
    """
    missed = np.abs(contributions.sum(axis=1) - raw)
    size = np.maximum(np.abs(contributions).sum(axis=1), 1.0)
    if not np.all(missed <= SUM_TOLERANCE * size):
        raise ReleaseError(f"The contributions miss the raw score by up to {float(np.max(missed)):.3g}.")
