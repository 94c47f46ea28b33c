"""MLflow, for people who look runs up: every release as a run and a model version, the two aliases.

The only module that knows MLflow. A release folder holds everything; what is recorded here is read
from it, so that a record that was interrupted is made up for by the next one, and a scorer needs none
of it. SQLite beside the releases by default, any server by ``MLFLOW_TRACKING_URI``.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from knownat.clock import to_us
from knownat.contract.release import (
    BASELINE,
    CARD,
    CERTIFICATE,
    MANIFEST,
    ModelDeployment,
    Release,
    read_deployment,
)
from knownat.contract.workspace import Workspace
from training.curves import draw_release, learning_of
from training.versions import list_releases

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Metric, Param, Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

_DIGEST, _VERSION = "knownat.digest", "knownat.version"
_URI = "MLFLOW_TRACKING_URI"
_MS = 1_000
_NOT_ALLOWED = re.compile(r"[^\w\-. :/]")
_LONGEST_DIGEST = 36


class Registry:
    """One MLflow tracking server and model registry."""

    def __init__(self, client: "MlflowClient", *, artifacts: str | None) -> None:
        self._client = client
        self._artifacts = artifacts

    @classmethod
    def open(cls, workspace: Workspace) -> Self:
        """Open the server of ``MLFLOW_TRACKING_URI``, or else the workspace's own SQLite file."""
        # MLflow reports usage to its makers unless told otherwise before it is imported.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # Its own patience with a server that is away is minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        from mlflow.tracking import MlflowClient

        home = workspace.home / "mlflow"
        uri = os.environ.get(_URI)
        if not uri:
            home.mkdir(parents=True, exist_ok=True)
        local = uri or f"sqlite:///{home / 'mlflow.db'}"
        client = MlflowClient(tracking_uri=local, registry_uri=local)
        return cls(client, artifacts=None if uri else (home / "artifacts").as_uri())

    def record(self, release: Release) -> str:
        """Record a release as a run and a model version, once; return MLflow's number of the version.

        The version is created last, so that whoever lists versions sees only whole ones.
        """
        model = release.manifest.model
        known = {version.tags.get(_DIGEST): version for version in self._versions(model)}
        if release.digest in known:
            return str(known[release.digest].version)
        for half in self._runs_of(release):
            # Of a process that was killed while it recorded: no version was made of it.
            self._client.delete_run(half)
        run = self._log_run(release)
        tags = {
            _DIGEST: release.digest,
            _VERSION: release.manifest.version,
            "gates": "passed" if release.manifest.passed else "failed",
        }
        if not self._client.search_registered_models(f"name = '{model}'"):
            self._client.create_registered_model(model, description=release.manifest.spec.description)
        made = self._client.create_model_version(model, release.path.as_uri(), run, tags=tags)
        return str(made.version)

    def set_aliases(self, model: str, serving: ModelDeployment | None) -> None:
        """Point ``champion`` and ``challenger`` at the versions that serve, and away from all others."""
        numbers = {version.tags.get(_DIGEST): str(version.version) for version in self._versions(model)}
        wanted = {
            "champion": serving.champion if serving else None,
            "challenger": serving.challenger if serving else None,
        }
        if not numbers:
            return
        have = self._client.get_registered_model(model).aliases
        for alias, deployed in wanted.items():
            number = numbers.get(deployed.digest) if deployed else None
            if number is None and alias in have:
                self._client.delete_registered_model_alias(model, alias)
            elif number is not None and str(have.get(alias)) != number:
                self._client.set_registered_model_alias(model, alias, number)

    def alias(self, model: str, alias: str) -> str | None:
        """Tell which release version an alias stands for; None if it stands for none."""
        number = self._client.get_registered_model(model).aliases.get(alias)
        if number is None:
            return None
        return str(self._client.get_model_version(model, str(number)).tags[_VERSION])

    def versions(self, model: str) -> list[str]:
        """List the release versions recorded of a model, oldest first."""
        found = sorted(self._versions(model), key=lambda version: int(version.version))
        return [str(version.tags[_VERSION]) for version in found]

    def unfinished(self, model: str) -> list[str]:
        """Name the releases whose recording was begun and neither ended nor taken back."""
        runs = self._runs(model, "attributes.status = 'RUNNING'")
        return [run.data.tags[_VERSION] for run in runs]

    def _runs_of(self, release: Release) -> list[str]:
        runs = self._runs(release.manifest.model, f"tags.`{_DIGEST}` = '{release.digest}'")
        return [str(run.info.run_id) for run in runs]

    def _runs(self, model: str, wanted: str) -> "list[Run]":
        found = self._client.get_experiment_by_name(model)
        return list(self._client.search_runs([found.experiment_id], wanted)) if found else []

    def _versions(self, model: str) -> "list[ModelVersion]":
        return list(self._client.search_model_versions(f"name = '{model}'"))

    def _log_run(self, release: Release) -> str:
        manifest = release.manifest
        made_ms = to_us(manifest.created_at) // _MS
        run = self._client.create_run(
            self._experiment(manifest.model),
            start_time=made_ms,
            run_name=manifest.version,
            tags=_tags(release),
        )
        number = str(run.info.run_id)
        self._client.log_batch(
            number, metrics=list(_metrics(release, made_ms)), params=list(_params(release))
        )
        self._client.log_inputs(number, list(_datasets(release)))
        for name in (CARD, CERTIFICATE, MANIFEST):
            path = release.path / name
            if path.is_file():
                self._client.log_artifact(number, str(path))
        for name, drawing in draw_release(release).items():
            self._client.log_text(number, drawing, f"plots/{name}")
        self._client.set_terminated(number, "FINISHED", end_time=made_ms)
        return number

    def _experiment(self, model: str) -> str:
        found = self._client.get_experiment_by_name(model)
        if found is not None:
            return str(found.experiment_id)
        where = f"{self._artifacts}/{model}" if self._artifacts else None
        return str(self._client.create_experiment(model, artifact_location=where))


def synchronise(workspace: Workspace) -> str | None:
    """Record every release that is not recorded yet, and point the aliases at what serves.

    Nothing that serves hangs on it, so a registry that cannot be reached is told in words, and the next
    call makes up for it. With an empty ``MLFLOW_TRACKING_URI`` nothing is recorded.
    """
    if os.environ.get(_URI) == "":
        return None
    with _alone(workspace):
        registry = Registry.open(workspace)
        from mlflow.exceptions import MlflowException

        try:
            _record_all(registry, workspace)
        except MlflowException as error:
            return f"MLflow could not record the releases: {error}. The next command tries again."
    return None


def _record_all(registry: Registry, workspace: Workspace) -> None:
    releases = list(list_releases(workspace))
    for release in releases:
        registry.record(release)
    serving = read_deployment(workspace.deployment).models
    for model in sorted({release.manifest.model for release in releases}):
        registry.set_aliases(model, serving.get(model))


def _tags(release: Release) -> dict[str, str]:
    manifest = release.manifest
    return {
        _DIGEST: release.digest,
        _VERSION: manifest.version,
        "mlflow.source.git.commit": manifest.code_commit,
        "mlflow.note.content": manifest.spec.description,
        "owner": manifest.spec.owner,
        "gates": "passed" if manifest.passed else "failed",
    }


def _params(release: Release) -> "Iterator[Param]":
    from mlflow.entities import Param

    manifest = release.manifest
    told = {
        **{f"lightgbm.{name}": value for name, value in manifest.spec.lightgbm.params.items()},
        "rounds": manifest.best_iteration,
        "threads": manifest.threads,
        "cutoff": manifest.cutoff.isoformat(),
        "training_rows": manifest.training_rows,
        "columns": len(manifest.feature_schema.columns),
        "feature_service": manifest.spec.feature_service,
        "lock": manifest.lock_digest,
        "lightgbm": manifest.lightgbm_version,
    }
    for name, value in told.items():
        yield Param(name, str(value))


def _metrics(release: Release, when_ms: int) -> "Iterator[Metric]":
    from mlflow.entities import Metric

    def told(name: str, value: float, step: int = 0) -> Metric:
        return Metric(_NOT_ALLOWED.sub("_", name), float(value), when_ms, step)

    manifest = release.manifest
    for metric, found in manifest.metrics.items():
        yield told(metric, found.value)
        yield told(f"{metric}.low", found.low)
        yield told(f"{metric}.high", found.high)
    for baseline, measured in manifest.baselines.items():
        for metric, value in measured.items():
            yield told(f"baseline.{baseline}.{metric}", value)
    for column, groups in manifest.slices.items():
        for group, measures in groups.items():
            for metric, value in measures.items():
                yield told(f"slice.{column}.{group}.{metric}", value)
    for loss, values in learning_of(release).items():
        for step, value in enumerate(values, start=1):
            yield told(f"validation.{loss}", value, step)


def _datasets(release: Release) -> "Iterator[DatasetInput]":
    """Tell which feature views and which questions a release was made from."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    plan, files = release.plan, release.manifest.files
    rows = {"rows": release.manifest.training_rows}
    context = InputTag("mlflow.data.context", "training")
    inputs = {view.name: {f.name: f.dtype for f in view.features} for view in plan.views}
    inputs[f"questions of {release.manifest.model}"] = {
        **release.manifest.spec.examples.keys,
        **release.manifest.spec.examples.inputs,
    }
    for name, columns in inputs.items():
        source = {"project": plan.project, "feature_service": plan.feature_service, "view": name}
        yield DatasetInput(
            Dataset(
                name=name,
                # Of the rows it was fitted to: the same rows, the same digest.
                digest=files.get(BASELINE, release.digest)[:_LONGEST_DIGEST],
                source_type="feast",
                source=json.dumps(source),
                schema=json.dumps(columns),
                profile=json.dumps(rows),
            ),
            tags=[context],
        )


@contextmanager
def _alone(workspace: Workspace) -> Iterator[None]:
    """Let one process of a workspace record at a time, so that no release is recorded twice."""
    workspace.releases.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(workspace.releases / ".registry.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
