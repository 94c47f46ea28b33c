"""What the serving releases saw of each feature in training: the other half of a catalogue's pictures."""

import logging
from dataclasses import dataclass

from knownat.contract.profile_file import read_profile
from knownat.contract.release import PROFILE, read_deployment, read_release
from knownat.contract.workspace import Workspace
from knownat.errors import KnownatError
from knownat.stores.consumers import serving_versions
from knownat.stores.distributions import Held, describe_profile

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """A feature as a release saw it: in every question that it was trained on."""

    release: str
    held: Held


def seen_in_training(workspace: Workspace) -> dict[str, Seen]:
    """Describe every column that a serving release was trained on, by ``view__feature``; champions first.

    A release that cannot be read is left out and logged.
    """
    found: dict[str, Seen] = {}
    try:
        serving = list(serving_versions(read_deployment(workspace.deployment)))
    except KnownatError as error:
        _log.warning("What serves is left out of the catalogue: %s", error)
        return found
    for model, version, digest, _ in sorted(serving, key=lambda each: each[3] != "champion"):
        folder = workspace.releases / model / version
        try:
            release = read_release(folder, digest=digest)
            profile = read_profile(release.read_bytes(PROFILE), source=folder / PROFILE)
        except KnownatError as error:
            _log.warning("Release %s %s is left out of the catalogue: %s", model, version, error)
            continue
        for name in release.manifest.feature_schema.names:
            if name in profile.columns:
                found.setdefault(name, Seen(f"{model} {version}", describe_profile(profile.columns[name])))
    return found
