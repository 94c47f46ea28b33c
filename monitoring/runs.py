"""A run over models and windows: what breaks is told at the end, and stops nothing else."""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from knownat.clock import Clock, from_us
from knownat.contract.model_spec import Monitoring, read_spec
from knownat.contract.pseudonyms import Pseudonyms
from knownat.contract.release import read_deployment, read_release
from knownat.contract.verdict import ModelVerdict
from knownat.contract.workspace import Workspace
from knownat.errors import KnownatError, ReleaseError
from monitoring.jobs import Job
from monitoring.pipeline import WindowReport, monitor_window
from monitoring.site import write_site
from monitoring.telling import tell
from monitoring.verdicts import decide_model, read_policy, read_summaries
from monitoring.webhook import Delivery
from monitoring.windows import Judged, Window, due_windows

_logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Told what is being done, windows done, windows in all."""


@dataclass(frozen=True)
class Work:
    """What to do: which jobs, for which windows; the due ones if none are named."""

    jobs: Collection[Job] = tuple(Job)
    windows: Sequence[Window] | None = None
    again: bool = False
    pseudonyms: Pseudonyms | None = None


@dataclass
class ModelRun:
    """What became of one model."""

    model: str
    reports: list[WindowReport] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    verdict: ModelVerdict | None = None
    delivery: Delivery | None = None


def monitor_models(
    workspace: Workspace, models: Sequence[str], work: Work, *, clock: Clock, progress: Progress
) -> list[ModelRun]:
    """Do the work for each model, decide, tell, and write the site.

    A window, a rule or a message that fails is named in its model's ``problems`` or ``delivery``.
    """
    runs = [ModelRun(model) for model in models]
    planned = [(run, window) for run in runs for window in _plan(workspace, run, work, clock)]
    for number, (run, window) in enumerate(planned):
        progress(f"{run.model} {window.folder}", number, len(planned))
        _judge(workspace, run, window, work, clock)
    progress("decide and write the pages", len(planned), len(planned))
    for run in runs:
        _decide(workspace, run, now=from_us(clock.now_us()))
    write_site(workspace)
    return runs


def deployed_models(workspace: Workspace) -> list[str]:
    """Name the models that serve.

    Raises
    ------
    ReleaseError
        If none does.
    """
    found = sorted(read_deployment(workspace.deployment).models)
    if not found:
        raise ReleaseError(f"{workspace.deployment} names no model. Run `knownat train` first.")
    return found


def usual_length(workspace: Workspace, model: str) -> timedelta:
    """Return how long a model's windows are.

    Raises
    ------
    ConfigError, ReleaseError
        If the model is neither declared nor deployed, or its declaration cannot be used.
    """
    return timedelta(hours=_rules(workspace, model).window_hours)


def _plan(workspace: Workspace, run: ModelRun, work: Work, clock: Clock) -> Sequence[Window]:
    if work.windows is not None:
        return work.windows
    try:
        rules = _rules(workspace, run.model)
    except KnownatError as error:
        run.problems.append(str(error))
        return ()
    judged = [
        Judged(Window(s.start, s.end), s.performance.pending > 0)
        for s in read_summaries(workspace, run.model)
    ]
    return due_windows(from_us(clock.now_us()), rules, judged)[::-1]


def _judge(workspace: Workspace, run: ModelRun, window: Window, work: Work, clock: Clock) -> None:
    try:
        report = monitor_window(
            workspace,
            run.model,
            start=window.start,
            end=window.end,
            clock=clock,
            jobs=work.jobs,
            again=work.again,
            pseudonyms=work.pseudonyms,
        )
    except Exception as error:
        # Whatever is wrong with one window, the others are judged: last night's is the one that matters.
        known = isinstance(error, KnownatError)
        _logger.log(logging.INFO if known else logging.ERROR, "%s", window.folder, exc_info=not known)
        told = str(error) if known else f"{type(error).__name__}: {error}"
        run.problems.append(f"{window.folder}: {told}")
    else:
        run.reports.append(report)
        run.problems += [f"{window.folder}: {problem}" for problem in report.problems]


def _decide(workspace: Workspace, run: ModelRun, *, now: datetime) -> None:
    try:
        run.verdict = decide_model(workspace, run.model, now=now)
        if run.verdict is not None:
            newest = read_summaries(workspace, run.model)[-1]
            monitoring = read_policy(workspace, newest).monitoring
            run.delivery = tell(workspace.reports / run.model, run.verdict, monitoring)
    except KnownatError as error:
        run.problems.append(str(error))


def _rules(workspace: Workspace, model: str) -> Monitoring:
    deployed = read_deployment(workspace.deployment).models.get(model)
    path = workspace.model_file(model)
    if path.is_file() or deployed is None:
        return read_spec(path).monitoring
    champion = deployed.champion
    release = read_release(workspace.releases / model / champion.version, digest=champion.digest)
    return release.manifest.spec.monitoring
