"""The site of all reports: the overview, each model's page, and the textfile, from what lies on disk."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from knownat.contract.verdict import ModelVerdict, read_verdict
from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError, VerdictError
from monitoring import pages
from monitoring.catalogue import Catalogue
from monitoring.files import alone_in, replace_text
from monitoring.incidents import Incident, read_incidents
from monitoring.metrics import display_name
from monitoring.telling import read_untold
from monitoring.textfile import TEXTFILE, Told, write_samples
from monitoring.timeline import Mark, Point, draw_timeline
from monitoring.versions import champions, read_changes, read_versions
from monitoring.window_files import INDEX, PAGE, SUMMARY, read_summary
from monitoring.windows import Window


def write_site(workspace: Workspace, *, problems: Sequence[str] = ()) -> Path:
    """Write every page but the windows' own, and the textfile; return the overview.

    What cannot be read is named there. Two runs at once wait for each other, and the later one sees
    what the earlier one wrote.
    """
    reports = workspace.reports
    with alone_in(reports):
        incidents, found_problems = _incidents(workspace)
        models = [
            _model(workspace, folder, incidents)
            for folder in sorted(path for path in reports.glob("*") if path.is_dir())
            if any(folder.glob(f"*/{SUMMARY}"))
        ]
        for model in models:
            replace_text(reports / model.name / INDEX, pages.model_page(model))
        unreadable = [
            path.relative_to(reports).as_posix()
            for path in sorted(reports.glob(f"*/*/{SUMMARY}"))
            if read_summary(path.parent) is None
        ]
        overview = pages.overview(
            models,
            unreadable=unreadable,
            problems=(*problems, *found_problems),
            catalogue=Catalogue.seen_from(workspace, reports),
        )
        replace_text(reports / INDEX, overview)
        replace_text(reports / TEXTFILE, write_samples(_told(models)))
    return reports / INDEX


def _model(workspace: Workspace, folder: Path, incidents: Sequence[Incident]) -> pages.ModelPage:
    found = [read_summary(path.parent) for path in folder.glob(f"*/{SUMMARY}")]
    summaries = sorted((s for s in found if s is not None), key=lambda s: (s.end, s.start))
    verdict, problem = _verdict(workspace, folder.name)
    own = tuple(incident for incident in incidents if incident.concerns(folder.name))
    changes = tuple(read_changes(workspace, folder.name))
    marks = [Mark("release", c.at, f"version {c.version} began to serve") for c in champions(changes)]
    marks += [Mark("incident", incident.start, incident.text, incident.end) for incident in own]
    model = pages.ModelPage(
        name=folder.name,
        verdict=verdict,
        problem=problem,
        untold=read_untold(folder),
        entries=tuple(pages.Entry(s, f"{Window(s.start, s.end).folder}/{PAGE}") for s in summaries),
        versions=tuple(read_versions(workspace, folder.name)),
        changes=changes,
        incidents=own,
        catalogue=Catalogue.seen_from(workspace, folder),
    )
    return _with_timeline(model, marks)


def _with_timeline(model: pages.ModelPage, marks: Sequence[Mark]) -> pages.ModelPage:
    if model.newest is None:
        return model
    metric = display_name(model.newest.metric)
    label = f"{len(model.entries)} windows: {metric}, drift, faults, age of features, predictions"
    drawn = draw_timeline(
        [_point(entry) for entry in model.entries],
        marks,
        metric=metric,
        release=model.promised,
        label=label,
    )
    return replace(model, timeline=drawn)


def _point(entry: pages.Entry) -> Point:
    s = entry.summary
    renewed = (view for view in s.views if view.renewed)
    ages = [v.age_s / v.expected_age_s for v in renewed if v.age_s is not None and v.expected_age_s]
    return Point(
        start=s.start,
        end=s.end,
        href=entry.href,
        level=s.verdict.level,
        volume=s.rows,
        faults=len(s.faults),
        drifted=min(sum(feature.importance for feature in s.drifted), 1.0),
        age=max(ages, default=None),
        value=s.headline.window if s.headline is not None else None,
        estimate=next((e.range for e in s.performance.estimates if e.metric == s.metric), None),
    )


def _verdict(workspace: Workspace, model: str) -> tuple[ModelVerdict | None, str]:
    try:
        verdict = read_verdict(workspace, model)
    except VerdictError as error:
        return None, str(error)
    return verdict, "" if verdict is not None else f"run `knownat monitor {model}`"


def _incidents(workspace: Workspace) -> tuple[list[Incident], list[str]]:
    try:
        return read_incidents(workspace), []
    except ConfigError as error:
        return [], [f"The incidents are not shown. {error}"]


def _told(models: Sequence[pages.ModelPage]) -> list[Told]:
    told = []
    for model in models:
        if model.verdict is None or model.newest is None:
            continue
        measured = [e.summary for e in model.entries if e.summary.headline is not None]
        told.append(
            Told(
                verdict=model.verdict,
                newest=model.newest,
                measured=measured[-1] if measured else None,
                untold=bool(model.untold),
            )
        )
    return told
