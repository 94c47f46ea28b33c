"""Reproduction: a release made again from its manifest, and compared byte for byte."""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version as package_version
from pathlib import Path

from pydantic import ValidationError

from knownat.contract.model_spec import ModelSpec
from knownat.contract.release import (
    CARD,
    CERTIFICATE,
    EXAMPLES,
    GOLDEN,
    HISTORY,
    HOLDOUT,
    PROFILE,
    SOURCES,
    Release,
    read_release,
)
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError
from knownat.stores.pipelines import build_features
from training.contents import Model, golden_rows, write_contents
from training.fit import THREADS, fit
from training.origin_changes import changed_definitions, changed_rows, later_rows
from training.origins import Origins, read_events, read_origins, read_tables
from training.pipeline import Progress, prepare
from training.provenance import code_commit, lock_digest

_TOLD_APART = {CARD, CERTIFICATE, EXAMPLES, SOURCES}
"""Files that say when and from what; what is in them is compared part by part."""
_TEST_SIDE = {GOLDEN, HISTORY, HOLDOUT, PROFILE}
"""Files with rows or scores of the test side, whose answers may become known after the cutoff."""


@dataclass(frozen=True)
class Reproduction:
    """What came out when a release was made again.

    ``files`` tells of each file that follows from the data whether its bytes are the same.
    ``changed`` names what a release is made of that is not what it was; ``later`` what became known
    after its cutoff, which only the measurements on the test side can see.
    """

    model: str
    version: str
    files: Mapping[str, bool]
    environment: tuple[str, ...]
    changed: tuple[str, ...]
    later: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether the model and the rows it was fitted to have the same bytes."""
        return all(same for name, same in self.files.items() if name not in _TEST_SIDE)

    def as_json(self) -> dict[str, object]:
        """Lay everything out for ``--json``."""
        return {**asdict(self), "same": self.same}


def reproduce(
    workspace: Workspace, release: Release, *, anyway: bool = False, progress: Progress
) -> Reproduction:
    """Make a release again from the events at hand and compare it with what was kept.

    Feature tables are built anew where their inputs changed. Nothing is released.

    Raises
    ------
    ReleaseError
        If code, packages or threads are not those of the release (unless ``anyway``), or it does not say
        what it was made from.
    ConfigError, RepoError, RowsNotConserved
        If it can no longer be made at all.
    """
    spec, then = release.manifest.spec, read_kept_origins(release)
    progress("build what changed", 0, 0)
    build_features(workspace.repo)
    now = read_origins(workspace, spec)
    environment = tuple(_environment(workspace, release, then, now))
    if environment and not anyway:
        listed = "\n".join(f"- {difference}" for difference in environment)
        raise ReleaseError(f"{release.path} was made elsewhere than here:\n{listed}")
    with tempfile.TemporaryDirectory(prefix="knownat-again-") as scratch:
        _make_again(workspace, spec, Path(scratch), progress)
        files = dict(_compare_files(release, Path(scratch)))
    return Reproduction(
        model=release.manifest.model,
        version=release.manifest.version,
        files=files,
        environment=environment,
        changed=(*changed_definitions(then, now), *_changed_rows(workspace, spec, then, now)),
        later=tuple(later_rows(then, now)),
    )


def find_release(workspace: Workspace, model: str, version: str, *, folder: Path | None = None) -> Release:
    """Read a version of a model from the workspace, or from a folder that holds a copy of it.

    Raises
    ------
    ReleaseError
        If there is none, it was changed, or it is of another model.
    """
    release = read_release(folder or workspace.releases / model / version)
    if (release.manifest.model, release.manifest.version) != (model, version):
        found = f"'{release.manifest.model}' {release.manifest.version}"
        raise ReleaseError(f"{release.path} is {found}, not '{model}' {version}.")
    return release


def read_kept_origins(release: Release) -> Origins:
    """Read what a release says it was made from.

    Raises
    ------
    ReleaseError
        If it does not say, or not so that it can be read.
    """
    if SOURCES not in release.manifest.files:
        raise ReleaseError(f"{release.path} does not say what it was made from. Train the model again.")
    try:
        return Origins.model_validate_json(release.read_bytes(SOURCES))
    except ValidationError as error:
        raise ReleaseError(f"{release.path / SOURCES} cannot be read. Train the model again.") from error


def _make_again(workspace: Workspace, spec: ModelSpec, folder: Path, progress: Progress) -> None:
    prepared = prepare(workspace, spec, progress)
    fitted = fit(prepared.data, spec, report=progress)
    model = Model(
        spec=spec,
        joined=prepared.joined,
        data=prepared.data,
        fitted=fitted,
        scores=fitted.predict(prepared.data.matrix),
    )
    progress("compare", 0, 0)
    write_contents(folder, model, golden_rows(model))


def _compare_files(release: Release, made: Path) -> Iterator[tuple[str, bool]]:
    for name, kept in sorted(release.manifest.files.items()):
        if name not in _TOLD_APART:
            path = made / name
            yield name, path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == kept


def _environment(workspace: Workspace, release: Release, then: Origins, now: Origins) -> Iterator[str]:
    manifest = release.manifest
    commit = code_commit(workspace.repo)
    if then.code != now.code:
        where = (
            f"check it out: git worktree add ../again {manifest.code_commit}"
            if commit != manifest.code_commit
            else "this commit has changes that were not committed, here or there"
        )
        yield f"the platform's code is not that of commit {manifest.code_commit[:12]}; {where}"
    if (lock := lock_digest(workspace.repo)) != manifest.lock_digest:
        was = manifest.lock_digest[:12]
        yield f"requirements.lock is {lock[:12]}, it was {was}; run `make env` at its commit"
    pairs = {
        "LightGBM": (package_version("lightgbm"), manifest.lightgbm_version),
        "pyarrow": (now.pyarrow, then.pyarrow),
        "DuckDB": (now.duckdb, then.duckdb),
        "the number of threads": (str(THREADS), str(manifest.threads)),
    }
    for what, (is_now, was) in pairs.items():
        if is_now != was:
            yield f"{what} is {is_now}, it was {was}"


def _changed_rows(workspace: Workspace, spec: ModelSpec, then: Origins, now: Origins) -> Iterator[str]:
    yield from changed_rows("event", then.events, now.events, lambda: dict(read_events(workspace)))
    if then.tables is not None and now.tables is not None:
        tables = read_tables(workspace, spec)
        yield from changed_rows("table", then.tables, now.tables, lambda: {n: rows for n, rows, _ in tables})
