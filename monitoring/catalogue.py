"""The way from a report to the catalogue that describes its features, where it was written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from knownat.contract.workspace import Workspace

_FOLDER, _INDEX = "features", "index.html"


@dataclass(frozen=True)
class Catalogue:
    """Pages of ``knownat features pages``, seen from one folder of reports."""

    index: str
    views: Mapping[str, str]
    """The page of each view that has one."""

    @classmethod
    def seen_from(cls, workspace: Workspace, folder: Path) -> "Catalogue | None":
        """Look for the pages beside the reports; None if none were written."""
        pages = workspace.reports / _FOLDER
        if not (pages / _INDEX).is_file():
            return None
        up = "../" * len(folder.relative_to(workspace.reports).parts)
        views = {path.stem: f"{up}{_FOLDER}/{path.name}" for path in pages.glob("*.html")}
        return cls(f"{up}{_FOLDER}/{_INDEX}", views)

    def page_of(self, column: str) -> str | None:
        """Return where a model's column, ``view__feature``, is described; None if it is not."""
        view, _, feature = column.partition("__")
        return f"{self.views[view]}#{feature}" if feature and view in self.views else None
