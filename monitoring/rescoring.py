"""Scores of logged rows, as a release gives them: from the columns that its model takes."""

import numpy as np
import pyarrow as pa

from knownat.contract.release import MODEL, Release
from knownat.scoring.booster import Booster
from monitoring.metrics import Floats


class Rescorer:
    """One release's model, loaded once for many tables."""

    def __init__(self, release: Release) -> None:
        self.schema = release.manifest.feature_schema
        self._booster = Booster.from_bytes(release.read_bytes(MODEL))

    def score(self, rows: pa.Table) -> Floats:
        """Score rows of model columns: shape (n,), or (n, classes) for a multiclass model.

        Raises
        ------
        SchemaMismatch
            If a model column is missing or holds values of another type.
        """
        return self.predict(self.schema.matrix(rows))

    def predict(self, matrix: Floats) -> Floats:
        """Score rows that are laid out already, in the order of the model's columns."""
        return np.asarray(self._booster.predict(matrix))
