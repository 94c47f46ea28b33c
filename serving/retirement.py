"""Take a version, or a model, out of service, unless somebody still asks for it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from knownat.contract.deployment import change_deployment, retire_model, retire_version
from knownat.contract.log_reader import read_predictions
from knownat.contract.prediction_log import Role
from knownat.contract.release import Deployment
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError


@dataclass(frozen=True)
class Traffic:
    """What callers asked of a version lately; shadows are nobody's callers."""

    rows: int
    last: datetime | None


def traffic(
    workspace: Workspace, model: str, version: str | None, *, since: datetime, now: datetime
) -> Traffic:
    """Count the answered rows of a version, or of all of a model's, since a moment."""
    # The scorer's clock may run a little ahead of ours.
    end = now + timedelta(minutes=1)
    log = read_predictions(workspace.predictions, model, start=since, end=end, version=version)
    asked: pa.Table = log.filter(pc.not_equal(log["role"], Role.SHADOW.value))
    return Traffic(asked.num_rows, pc.max(asked["event_timestamp"]).as_py())


def retire(
    workspace: Workspace,
    model: str,
    version: str | None,
    *,
    now: datetime,
    quiet: timedelta,
    force: bool = False,
    reason: str | None = None,
) -> Deployment:
    """Retire a version, or the whole model; callers get 410 and are told what serves instead.

    Raises
    ------
    ReleaseError
        If it does not serve, is the champion, or was asked within ``quiet`` and nobody said ``force``.
    """

    def change(before: Deployment) -> Deployment:
        after = retire_model(before, model) if version is None else retire_version(before, model, version)
        seen = traffic(workspace, model, version, since=now - quiet, now=now)
        if seen.rows and not force:
            what = f"'{model}'" if version is None else f"Version {version} of '{model}'"
            raise ReleaseError(
                f"{what} answered {seen.rows} rows since {now - quiet:%Y-%m-%d %H:%MZ}, the last at "
                f"{seen.last:%H:%M:%SZ}. Move its callers first, set a sunset, or retire it with --force."
            )
        return after

    entry = {"at": now.isoformat(), "model": model, "version": version, "role": "retired", "reason": reason}
    return change_deployment(workspace, change, entry)
