"""A release: one immutable folder that holds everything a model needs to serve and to be judged.

``manifest.json`` is written last and carries the sha256 of every other file. The folder is staged
beside its final place, fsynced and renamed: a reader sees all of it or none.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from knownat.contract.model_spec import ModelSpec
from knownat.contract.read_plan import ReadPlan
from knownat.contract.schema import FeatureSchema
from knownat.contract.staging import stage_folder
from knownat.errors import ReleaseError

MANIFEST = "manifest.json"
MODEL = "model.txt"
PLAN = "read_plan.json"
GOLDEN = "golden.parquet"
BASELINE = "baseline.parquet"
HOLDOUT = "holdout.parquet"
PROFILE = "profile.parquet"
HISTORY = "history.parquet"
CERTIFICATE = "certificate.json"
CARD = "card.html"
EXAMPLES = "examples.sql"
SOURCES = "sources.json"

Version = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(_Frozen):
    """A metric with its 95 % bootstrap interval and the rows it was measured on."""

    value: float
    low: float
    high: float
    rows: int


class GateResult(_Frozen):
    """One gate's answer: what was asked, the number, and whether it passed."""

    gate: str
    value: float
    bound: float
    passed: bool


class Manifest(_Frozen):
    """What a release says of itself."""

    format: Literal[1] = 1
    model: str
    version: Version
    spec: ModelSpec
    feature_schema: FeatureSchema
    training_start: datetime
    training_end: datetime
    cutoff: datetime
    training_rows: int
    best_iteration: int
    threads: int
    code_commit: str
    lock_digest: str
    lightgbm_version: str
    created_at: datetime
    metrics: Mapping[str, Interval]
    baselines: Mapping[str, Mapping[str, float]]
    slices: Mapping[str, Mapping[str, Mapping[str, float]]]
    gates: tuple[GateResult, ...]
    files: Mapping[str, Digest]

    @property
    def passed(self) -> bool:
        """Whether every gate let the model through."""
        return all(gate.passed for gate in self.gates)


@dataclass(frozen=True)
class Release:
    """A release whose every byte was checked against its manifest."""

    path: Path
    digest: str
    manifest: Manifest

    def read_bytes(self, name: str) -> bytes:
        """Return one file's bytes, checked against the manifest.

        Raises
        ------
        ReleaseError
            If the manifest does not name the file, or the bytes are not those it names.
        """
        wanted = self.manifest.files.get(name)
        if wanted is None:
            raise ReleaseError(f"{self.path}: the manifest names no file '{name}'.")
        return _checked(self.path / name, wanted)

    @property
    def plan(self) -> ReadPlan:
        """How its features are read online."""
        return ReadPlan.model_validate_json(self.read_bytes(PLAN))

    def transform_sources(self) -> dict[str, str]:
        """Return the pinned source text of each on-demand view, by file name."""
        return {t.file: self.read_bytes(t.file).decode("utf-8") for t in self.plan.transforms}


def read_release(path: Path, *, digest: str | None = None) -> Release:
    """Read a release and verify every file it names.

    Raises
    ------
    ReleaseError
        If the folder is missing or unreadable, a file was changed, a file is there that the
        manifest does not name, or the manifest is not the one ``digest`` names.
    """
    try:
        raw = (path / MANIFEST).read_bytes()
        manifest = Manifest.model_validate_json(raw)
    except (OSError, ValidationError) as error:
        reason = type(error).__name__ if isinstance(error, ValidationError) else error
        raise ReleaseError(f"{path / MANIFEST} cannot be read ({reason}). Train the model again.") from error
    found = hashlib.sha256(raw).hexdigest()
    if digest is not None and found != digest:
        raise ReleaseError(
            f"{path}: the manifest's digest is {found[:12]}, the deployed one {digest[:12]}. "
            "The folder was changed after promotion; restore it or promote it again."
        )
    present = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()} - {MANIFEST}
    if present != set(manifest.files):
        odd = sorted(present ^ set(manifest.files))
        raise ReleaseError(f"{path}: files {odd} are missing or were never part of this release.")
    for name, wanted in manifest.files.items():
        _checked(path / name, wanted)
    return Release(path, found, manifest)


def _checked(path: Path, wanted: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ReleaseError(f"{path} cannot be read: {error}. Restore the release.") from error
    if (found := hashlib.sha256(content).hexdigest()) != wanted:
        raise ReleaseError(
            f"{path} was changed: its sha256 is {found[:12]}, the manifest says {wanted[:12]}. "
            "Restore the release."
        )
    return content


@contextmanager
def stage_release(folder: Path) -> Iterator[Path]:
    """Give a new folder beside ``folder`` to fill; drop it if the caller fails.

    Call :func:`publish_release` inside the block, with the filled folder.
    """
    with stage_folder(folder) as staged:
        yield staged


def publish_release(staged: Path, folder: Path, manifest: Mapping[str, object]) -> Release:
    """Write the manifest over the staged files, make all of it durable, and rename it into place.

    ``manifest`` holds every field of :class:`Manifest` but ``files``.

    Raises
    ------
    ReleaseError
        If a release of that name is there already: a release never changes.
    """
    names = sorted(p.relative_to(staged).as_posix() for p in staged.rglob("*") if p.is_file())
    files = {name: hashlib.sha256((staged / name).read_bytes()).hexdigest() for name in names}
    whole = Manifest.model_validate({**manifest, "files": files})
    _write_durably(staged / MANIFEST, whole.model_dump_json(indent=2).encode())
    for path in (*staged.rglob("*"), staged):
        _fsync(path)
    try:
        # A rename onto a folder that is not empty fails, so an existing release cannot be replaced.
        staged.rename(folder)
    except OSError as error:
        raise ReleaseError(f"{folder} exists already; a release never changes. Use a new version.") from error
    _fsync(folder.parent)
    return read_release(folder)


class Deployed(_Frozen):
    """One version that may serve, named by its manifest's digest."""

    version: Version
    digest: Digest


class ModelDeployment(_Frozen):
    """Which versions of one model serve, and as what."""

    champion: Deployed
    challenger: Deployed | None = None
    challenger_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Of the requests that name no version, the part that the challenger answers."""
    shadow: tuple[Deployed, ...] = ()
    pinned: tuple[Deployed, ...] = ()
    """Answer only who names them."""
    retired: tuple[Version, ...] = ()
    """Served once; who names one is told what serves now."""

    @property
    def serving(self) -> tuple[Deployed, ...]:
        """Every version that answers anything, the champion first."""
        challenger = () if self.challenger is None else (self.challenger,)
        return (self.champion, *challenger, *self.shadow, *self.pinned)

    @property
    def versions(self) -> list[str]:
        """The names of :attr:`serving`."""
        return [deployed.version for deployed in self.serving]

    def without(self, version: str) -> Self:
        """Take a version's roles from it, but for the champion's."""
        challenger = self.challenger
        return self.model_copy(
            update={
                "challenger": None if challenger and challenger.version == version else challenger,
                "shadow": tuple(one for one in self.shadow if one.version != version),
                "pinned": tuple(one for one in self.pinned if one.version != version),
            }
        )


class Deployment(_Frozen):
    """``deployment.json``: the one file that says what a scorer loads."""

    format: Literal[1] = 1
    models: Mapping[str, ModelDeployment] = Field(default_factory=dict)
    retired: tuple[str, ...] = ()
    """Models that served once."""
    last_change: Mapping[str, JsonValue] | None = None
    """The newest line of the history, written in one with what it changed."""

    def with_model(self, model: str, serving: ModelDeployment) -> Self:
        """Return the same with other versions of one model."""
        retired = tuple(name for name in self.retired if name != model)
        return self.model_copy(update={"models": {**self.models, model: serving}, "retired": retired})


def read_deployment(path: Path) -> Deployment:
    """Read what serves; an absent file means that nothing was promoted yet.

    Raises
    ------
    ReleaseError
        If the file is there but cannot be read as a deployment.
    """
    try:
        return Deployment.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Deployment()
    except (OSError, ValidationError) as error:
        raise ReleaseError(f"{path} cannot be read as a deployment. Promote a version again.") from error


def write_deployment(path: Path, deployment: Deployment) -> None:
    """Replace what serves, atomically and durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    text = json.dumps(deployment.model_dump(mode="json"), indent=2, sort_keys=True)
    _write_durably(staged, text.encode())
    staged.replace(path)
    _fsync(path.parent)


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
