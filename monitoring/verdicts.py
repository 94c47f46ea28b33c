"""A model's verdict: read its judged windows, let the policy decide, write ``verdict.json``."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from knownat.contract.model_spec import Monitoring, read_spec
from knownat.contract.verdict import ModelVerdict, verdict_file
from knownat.contract.workspace import Workspace
from monitoring.files import replace_text
from monitoring.policy import decide
from monitoring.summary import Summary
from monitoring.versions import read_versions
from monitoring.votes import comparable, vote_of
from monitoring.window_files import read_skew, read_summary, window_folders
from monitoring.windows import Window


@dataclass(frozen=True)
class Policy:
    """Today's rules of a model, and whom its alerts name."""

    monitoring: Monitoring
    owner: str
    runbook: str


def decide_model(workspace: Workspace, model: str, *, now: datetime) -> ModelVerdict | None:
    """Decide what a model's judged windows ask for and write it; None while no window was judged.

    Windows whose summary cannot be read are left out. Two runs over the same windows decide the same,
    whatever was decided in between.

    Raises
    ------
    ConfigError
        If the model's declaration, and so its rules, cannot be used.
    """
    judged = read_summaries(workspace, model)
    if not judged:
        return None
    policy = read_policy(workspace, judged[-1])
    windows = comparable(judged, window_hours=policy.monitoring.window_hours)
    votes = [vote_of(summary, read_skew(_folder(workspace, summary))) for summary in windows]
    made = [version.made for version in read_versions(workspace, model)]
    decision = decide(votes, policy.monitoring.verdict, made_at=made)
    verdict = ModelVerdict(
        model=model,
        version=windows[-1].version,
        action=decision.action,
        since=decision.since,
        reasons=decision.reasons,
        owner=policy.owner,
        runbook=policy.runbook,
        as_of=windows[-1].end,
        judged_at=now,
        votes=decision.votes,
    )
    replace_text(verdict_file(workspace, model), verdict.model_dump_json(indent=2))
    return verdict


def read_summaries(workspace: Workspace, model: str) -> list[Summary]:
    """Read every judged window of a model, oldest first; one that cannot be read is left out."""
    found = [read_summary(folder) for folder in window_folders(workspace.reports, model)]
    return sorted((s for s in found if s is not None), key=lambda s: (s.end, s.start))


def read_policy(workspace: Workspace, newest: Summary) -> Policy:
    """Read the rules that hold today: policy is the declaration's, a release promises numbers only.

    Where nothing is declared, as on a host that holds logs and reports alone, they are the usual ones.

    Raises
    ------
    ConfigError
        If the declaration is there but cannot be used; every problem at once.
    """
    path = workspace.model_file(newest.model)
    if not path.is_file():
        return Policy(Monitoring(), newest.owner, newest.runbook)
    spec = read_spec(path)
    return Policy(spec.monitoring, spec.owner, spec.runbook)


def _folder(workspace: Workspace, summary: Summary) -> Path:
    return workspace.reports / summary.model / Window(summary.start, summary.end).folder
