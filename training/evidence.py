"""What a release's certificate says, read back by whoever must decide whether it may serve."""

from pydantic import BaseModel, ConfigDict, ValidationError

from knownat.contract.release import CERTIFICATE, Release
from knownat.errors import ReleaseError

FORMAT = 2
"""Of ``certificate.json``; 1 had no future test."""


class Instant(BaseModel):
    """One rewritten future: when, how much was compared, and which planted leaks moved."""

    model_config = ConfigDict(frozen=True)

    instant: str
    rows_visible: int
    questions: int
    columns: int
    canaries: dict[str, int]


class Evidence(BaseModel):
    """The part of ``certificate.json`` that decides."""

    model_config = ConfigDict(frozen=True)

    format: int
    future: tuple[Instant, ...]
    problems: tuple[str, ...]
    open_suspicions: tuple[str, ...]


def read_evidence(release: Release) -> Evidence:
    """Read the certificate of a release.

    Raises
    ------
    ReleaseError
        If there is none, or it is of a format that proves less than is asked today.
    """
    again = "Train the model again."
    if CERTIFICATE not in release.manifest.files:
        raise ReleaseError(f"{release.path} has no certificate that it does not leak. {again}")
    try:
        evidence = Evidence.model_validate_json(release.read_bytes(CERTIFICATE))
    except ValidationError as error:
        raise ReleaseError(f"{release.path}: the certificate cannot be read. {again}") from error
    if evidence.format != FORMAT or not evidence.future:
        raise ReleaseError(f"{release.path}: the certificate lacks the future test. {again}")
    return evidence
