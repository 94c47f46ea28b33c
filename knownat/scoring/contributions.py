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

Scale = Literal["log_odds", "score", "class_scores"]
"""What the contributions add up on: log odds for a probability; for each class of several what its share
is made of (the softmax, or what else the objective says); else the score's own unit."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Explained:
    """n rows explained, for each output of the model: ``base + contributions`` is its ``raw``."""

    columns: tuple[str, ...]
    scale: Scale
    contributions: Floats
    """Shape (n, outputs, columns); a model has one output, or one a class."""
    base: Floats
    """Shape (n, outputs)."""
    raw: Floats
    """Shape (n, outputs)."""


@dataclass(frozen=True)
class Explainer:
    """Explains one release with a booster of its own, so that no score waits for an explanation."""

    schema: FeatureSchema
    booster: Booster
    scale: Scale

    @classmethod
    def load(cls, release: Release) -> Self:
        """Load the model of a verified release once more."""
        scales: dict[str, Scale] = {"binary": "log_odds", "multiclass": "class_scores"}
        scale = scales.get(release.manifest.spec.task, "score")
        return cls(release.manifest.feature_schema, Booster.from_bytes(release.read_bytes(MODEL)), scale)

    def explain(self, columns: Mapping[str, Sequence[object]]) -> Explained:
        """Explain n rows of model columns.

        Raises
        ------
        SchemaMismatch
            If a model column is missing or holds values of another type.
        ReleaseError
            If the contributions do not add up to the raw score, of each class where there are several.
        """
        matrix = self.schema.matrix(columns)
        raw = self.booster.predict_raw(matrix)
        # One output's columns and base stand behind another's.
        found = self.booster.contributions(matrix).reshape(*raw.shape, len(self.schema.names) + 1)
        refuse_other_sums(found, raw)
        return Explained(self.schema.names, self.scale, found[..., :-1], found[..., -1], raw)


def refuse_other_sums(contributions: Floats, raw: Floats) -> None:
    """Check that contributions and base, along the last axis, make each raw score.

    Raises
    ------
    ReleaseError
        If one misses it by more than rounding can.
    """
    missed = np.abs(contributions.sum(axis=-1) - raw)
    size = np.maximum(np.abs(contributions).sum(axis=-1), 1.0)
    if not np.all(missed <= SUM_TOLERANCE * size):
        raise ReleaseError(f"The contributions miss the raw score by up to {float(np.max(missed)):.3g}.")
