"""``knownat feedback``: read what users found odd, make it again, and hold later releases to it."""

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from knownat.clock import from_us
from knownat.contract.cases import case_of, keep_case, read_cases
from knownat.contract.feedback import Bundle, list_bundles, read_bundle, remove_bundles
from knownat.contract.release import Deployed, Release, read_deployment, read_release
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError
from knownat.scoring.replay import Checked, Difference, check_cases, replay
from serving.commands import ClockOption, JsonOption, RepoOption, check_clock

app = typer.Typer(
    help="Read what users found odd, make it again, and hold later releases to it.", no_args_is_help=True
)

_SPOKE = 1
_SHOWN_CHARACTERS = 60

IdArgument = Annotated[str, typer.Argument(help="The bundle's id, or the start of it.")]


@app.command("list")
def list_feedback(
    model: Annotated[str | None, typer.Argument(help="The model. Default: all.")] = None,
    *,
    repo: RepoOption = Path("feature_repo"),
    as_json: JsonOption = False,
) -> None:
    """List the comments that came in, the oldest first.

    Example: knownat feedback list late_arrival
    """
    found = list(list_bundles(Workspace.at(repo).feedback, model))
    if as_json:
        _print(json.dumps([bundle.model_dump(mode="json") for bundle in found]))
        return
    for bundle in found:
        said = " ".join(bundle.comment.split())
        cut = said if len(said) <= _SHOWN_CHARACTERS else said[: _SHOWN_CHARACTERS - 1] + "…"
        _print(f"{bundle.feedback_id}  {bundle.posted_at:%Y-%m-%d %H:%MZ}  {_named(bundle)}  {cut}")
    if not found:
        _print("No comment has come in.")


@app.command()
def show(
    feedback_id: IdArgument, *, repo: RepoOption = Path("feature_repo"), as_json: JsonOption = False
) -> None:
    """Show one comment, and all that made the prediction that it is about.

    Example: knownat feedback show 3f2a
    """
    bundle = read_bundle(Workspace.at(repo).feedback, feedback_id)
    if as_json:
        _print(bundle.model_dump_json())
        return
    _print(f"{bundle.feedback_id}  {_named(bundle)}, {bundle.role}\n")
    _print(f"{bundle.comment}\n")
    _print(f"score            {bundle.score!r}{'  (degraded)' if bundle.degraded else ''}")
    _print(f"prediction       {bundle.prediction_id}")
    _print(f"asked at         {bundle.event_timestamp.isoformat()}")
    _print(f"posted at        {bundle.posted_at.isoformat()}")
    for name, value in bundle.made_by.model_dump().items():
        _print(f"{name:<16} {value}")
    for title, values in (("keys", bundle.keys), ("inputs", bundle.inputs), ("features", bundle.features)):
        _print(f"\n{title}")
        for name, value in values.items():
            _print(f"  {name} = {json.dumps(value)}")
    _print("\nviews")
    for name, view in bundle.views.items():
        age = "" if view.age_seconds is None else f", {view.age_seconds:.0f} s old"
        _print(f"  {name}: {view.status}{age}")


@app.command("replay")
def replay_feedback(
    feedback_id: IdArgument, *, repo: RepoOption = Path("feature_repo"), as_json: JsonOption = False
) -> None:
    """Make a prediction again with the very release that made it; name whatever comes out otherwise.

    Exit code 1 if anything does: then it was not the model that was odd, but what ran it.

    Example: knownat feedback replay 3f2a
    """
    workspace = Workspace.at(repo)
    bundle = read_bundle(workspace.feedback, feedback_id)
    folder = workspace.releases / bundle.model / bundle.version
    made = replay(read_release(folder, digest=bundle.made_by.digest), bundle)
    if as_json:
        differences = [{"name": d.name, "logged": d.logged, "replayed": d.replayed} for d in made.differences]
        told = {"feedback_id": bundle.feedback_id, "logged": bundle.score, "replayed": made.score}
        _print(json.dumps({**told, "differences": differences}, default=str))
    elif made.differences:
        _print(f"{bundle.feedback_id}: {_named(bundle)} does not give what it gave.")
        for difference in made.differences:
            _print(f"  {_told(difference)}")
    else:
        _print(f"{bundle.feedback_id}: {_named(bundle)} gives {made.score!r} again; nothing differs.")
    if made.differences:
        raise typer.Exit(_SPOKE)


@app.command()
def keep(
    feedback_id: IdArgument,
    *,
    at_least: Annotated[
        float | None, typer.Option("--at-least", help="Lowest score that would be right.")
    ] = None,
    at_most: Annotated[
        float | None, typer.Option("--at-most", help="Highest score that would be right.")
    ] = None,
    why: Annotated[
        str | None, typer.Option("--why", help="Why it would be right. Default: the user's comment.")
    ] = None,
    repo: RepoOption = Path("feature_repo"),
    as_json: JsonOption = False,
) -> None:
    """Make a regression case of a comment: a file of the repo that every later release is asked about.

    Without bounds it only shows how the score moves from release to release. The file holds what the
    model was fed and no entity keys; read it before you commit it.

    Example: knownat feedback keep 3f2a --at-most 0.4 --why "a clear day, an early flight"
    """
    workspace = Workspace.at(repo)
    bundle = read_bundle(workspace.feedback, feedback_id)
    path = keep_case(workspace.models, case_of(bundle, why=why, at_least=at_least, at_most=at_most))
    _print(json.dumps({"case": bundle.feedback_id, "path": str(path)}) if as_json else f"kept: {path}")


@app.command()
def check(
    model: Annotated[str, typer.Argument(help="The model.")],
    *,
    version: Annotated[
        str | None, typer.Option("--version", help="The release to ask. Default: the champion.")
    ] = None,
    repo: RepoOption = Path("feature_repo"),
    as_json: JsonOption = False,
) -> None:
    """Ask a release about every case that was kept; run it before a promotion.

    Exit code 1 if a score is outside its bounds, or a case lacks what the release reads.

    Example: knownat feedback check late_arrival --version 4
    """
    workspace = Workspace.at(repo)
    release = _release(workspace, model, version)
    checked = check_cases(release, read_cases(workspace.models, model))
    if as_json:
        told = {"model": model, "version": release.manifest.version}
        _print(json.dumps({**told, "cases": [_case_told(one) for one in checked]}))
    else:
        for one in checked:
            _print(_case_line(one))
        failed = sum(not one.passed for one in checked)
        _print(f"{model} {release.manifest.version}: {len(checked)} cases, {failed} not as they should be.")
    if not all(one.passed for one in checked):
        raise typer.Exit(_SPOKE)


@app.command()
def prune(
    model: Annotated[str | None, typer.Argument(help="Only this model's bundles. Default: all.")] = None,
    *,
    days: Annotated[
        int, typer.Option("--days", help="Remove what was posted more than so many days ago.", min=1)
    ],
    repo: RepoOption = Path("feature_repo"),
    clock: ClockOption = "system",
    as_json: JsonOption = False,
) -> None:
    """Remove old bundles: they hold keys, features and what people wrote. Cases that were kept stay.

    Example: knownat feedback prune --days 365
    """
    now = from_us(check_clock(clock).now_us())
    gone = remove_bundles(Workspace.at(repo).feedback, before=now - timedelta(days=days), model=model)
    _print(json.dumps({"removed": gone}) if as_json else f"{gone} bundles are gone.")


def _release(workspace: Workspace, model: str, version: str | None) -> Release:
    if version is not None:
        return read_release(workspace.releases / model / version)
    serving = read_deployment(workspace.deployment).models.get(model)
    if serving is None:
        raise ReleaseError(f"No version of '{model}' serves. Name one: --version.")
    champion: Deployed = serving.champion
    return read_release(workspace.releases / model / champion.version, digest=champion.digest)


def _named(bundle: Bundle) -> str:
    return f"{bundle.model} {bundle.version}"


def _told(difference: Difference) -> str:
    return f"{difference.name}: {difference.logged!r} became {difference.replayed!r}"


def _case_told(one: Checked) -> dict[str, object]:
    case = one.case
    bounds = {"at_least": case.at_least, "at_most": case.at_most}
    before = {"found_in": case.version, "score_then": case.score}
    return {
        "case": case.id,
        "passed": one.passed,
        "score": one.score,
        "problem": one.problem,
        **before,
        **bounds,
    }


def _case_line(one: Checked) -> str:
    case, said = one.case, " ".join(one.case.why.split())[:_SHOWN_CHARACTERS]
    if one.score is None:
        return f"FAILED  {case.id}  {one.problem}  {said}"
    bounds = [f"at least {case.at_least}"] * (case.at_least is not None)
    bounds += [f"at most {case.at_most}"] * (case.at_most is not None)
    wanted = f" ({', '.join(bounds)})" if bounds else ""
    verdict = "FAILED" if not one.passed else "holds " if bounds else "shown "
    return f"{verdict}  {case.id}  {case.score:.6g} in {case.version}, {one.score:.6g} now{wanted}  {said}"


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
