"""The way from a report to the catalogue that describes its features, where one was written."""

from pathlib import Path

from knownat.contract.workspace import Workspace

_CATALOGUE = Path("catalogue") / "index.html"


def catalogue_from(workspace: Workspace, folder: Path) -> str | None:
    """Name the way from a folder of reports to the feature catalogue; None if there is none."""
    if not (workspace.home / _CATALOGUE).is_file():
        return None
    up = len(folder.relative_to(workspace.home).parts)
    return "/".join([*[".."] * up, *_CATALOGUE.parts])
