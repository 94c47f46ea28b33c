"""What users say of a prediction, kept with everything that made it."""

import hashlib
import logging
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from knownat.clock import from_us
from knownat.contract.feedback import MadeBy, feedback_id_of, keep_bundle, make_bundle
from knownat.contract.log_lookup import find_prediction
from knownat.contract.release import MANIFEST, Manifest
from knownat.errors import LogError
from serving.errors import BadRequest, LogUnavailable, UnknownPrediction
from serving.models import ServedModels
from serving.prediction_ids import PredictionIds

_logger = logging.getLogger(__name__)

MAX_COMMENT_CHARACTERS = 4_000
MAX_FEEDBACK_BYTES = 64 << 10
"""A comment of that length whose every character is written as two escapes."""
_FIELDS = frozenset({"prediction_id", "comment"})
_ID_CHARACTERS = 256
_LAYOUT = frozenset("\n\r\t")


class Comment(NamedTuple):
    """One checked comment: on which prediction, and what it says."""

    prediction_id: str
    text: str


class Kept(NamedTuple):
    """The bundle of a comment, and whether it is new."""

    feedback_id: str
    model: str
    created: bool


def read_comment(document: Mapping[str, object]) -> Comment:
    """Check a request of feedback.

    Raises
    ------
    BadRequest
        If anything in it is wrong; the message repeats none of it.
    """
    if odd := document.keys() - _FIELDS:
        raise BadRequest(f"{len(odd)} unknown field(s); a request has {sorted(_FIELDS)}.")
    prediction_id, text = document.get("prediction_id"), document.get("comment")
    if not (isinstance(prediction_id, str) and 0 < len(prediction_id) <= _ID_CHARACTERS):
        raise BadRequest(f"'prediction_id' must be text of at most {_ID_CHARACTERS} characters.")
    if not (isinstance(text, str) and text.strip() and len(text) <= MAX_COMMENT_CHARACTERS):
        raise BadRequest(f"'comment' must be text of 1 to {MAX_COMMENT_CHARACTERS} characters.")
    # Whoever reads it in a terminal must not be steered by it.
    if any(unicodedata.category(one) == "Cc" and one not in _LAYOUT for one in text):
        raise BadRequest("'comment' holds control characters; plain text and line breaks are taken.")
    return Comment(prediction_id, text.strip())


@dataclass(frozen=True)
class Feedback:
    """Makes bundles below a folder, from the log and the releases beside it."""

    folder: Path
    log: Path
    releases: Path
    models: ServedModels
    ids: PredictionIds

    def keep(self, comment: Comment, now_us: int) -> Kept:
        """Keep a comment with its prediction; the same comment twice is one bundle.

        Raises
        ------
        UnknownPrediction
            If no such prediction was made here, or its row is not in the log any more.
        LogUnavailable
            If the log cannot be read, or the disk takes no more.
        """
        if not self.ids.knows(comment.prediction_id):
            raise UnknownPrediction("No prediction of that id was made here.")
        try:
            row = find_prediction(self.log, comment.prediction_id)
            if row is None:
                raise UnknownPrediction("The row of that prediction was dropped, or is past its retention.")
            bundle = make_bundle(
                row,
                comment=comment.text,
                posted_at=from_us(now_us),
                made_by=self._made_by(str(row["model"]), str(row["version"])),
            )
            created = keep_bundle(self.folder, bundle)
        except (OSError, LogError, ValidationError) as error:
            _logger.warning("feedback could not be kept: %s", type(error).__name__)
            raise LogUnavailable("The comment could not be kept. Send it again later.") from error
        return Kept(feedback_id_of(*comment), bundle.model, created)

    def _made_by(self, model: str, version: str) -> MadeBy:
        serving = {one.version: one.digest for one in self.models.served() if one.name == model}
        try:
            raw = (self.releases / model / version / MANIFEST).read_bytes()
            manifest = Manifest.model_validate_json(raw)
        except (OSError, ValidationError):
            return MadeBy(knownat=version_of("knownat"), digest=serving.get(version))
        return MadeBy(
            knownat=version_of("knownat"),
            digest=serving.get(version, hashlib.sha256(raw).hexdigest()),
            feature_service=manifest.spec.feature_service,
            lightgbm=manifest.lightgbm_version,
            code_commit=manifest.code_commit,
        )
