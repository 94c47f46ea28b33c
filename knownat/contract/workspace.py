"""Where everything lies on disk, seen from the feature repo."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Workspace:
    """The folders of one installation.

    ``repo`` is Feast's folder; its parent is the home of what the programs write. All paths are
    absolute, so no command depends on the folder it was called from.
    """

    repo: Path

    @classmethod
    def at(cls, repo: Path) -> "Workspace":
        """Name the workspace around a feature repo, whether or not it exists yet."""
        return cls(repo.expanduser().resolve())

    @property
    def home(self) -> Path:
        """The folder that holds the repo and everything the programs write."""
        return self.repo.parent

    @property
    def data(self) -> Path:
        """Feature tables, the embedded registry and the embedded online store."""
        return self.repo / "data"

    @property
    def push_sources(self) -> Path:
        """What services may push, as ``knownat apply`` found it."""
        return self.data / "push_sources.json"

    @property
    def models(self) -> Path:
        """One TOML and one SQL file a model."""
        return self.repo / "models"

    @property
    def releases(self) -> Path:
        """One immutable folder a release: ``<model>/<version>``."""
        return self.home / "releases"

    @property
    def deployment(self) -> Path:
        """Which versions serve, by digest."""
        return self.releases / "deployment.json"

    @property
    def predictions(self) -> Path:
        """The prediction log and the labels that arrive later."""
        return self.home / "predictions"

    @property
    def feedback(self) -> Path:
        """What users found odd: one bundle a comment, ``<model>/<id>.json``."""
        return self.home / "feedback"

    @property
    def reports(self) -> Path:
        """What analysts open; ``index.html`` first."""
        return self.home / "reports"

    def model_file(self, model: str) -> Path:
        """Where a model is declared."""
        return self.models / f"{model}.toml"
