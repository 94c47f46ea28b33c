"""``knownat retrain``: act on a verdict, a schedule, new answers or a person's word."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from knownat.clock import open_clock
from knownat.contract.model_spec import model_names
from knownat.contract.release import read_deployment
from knownat.contract.workspace import Workspace
from knownat.errors import KnownatError
from training.options import ClockOption, JsonOption, RepoOption, print_json, stages

if TYPE_CHECKING:
    from training.attempts import Outcome

_ERROR = 2


def retrain(
    models: Annotated[
        list[str] | None, typer.Argument(help="Models to look at; all that serve by default.")
    ] = None,
    repo: RepoOption = Path("feature_repo"),
    *,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Train now whatever asks for it; why, kept on record.")
    ] = None,
    approve: Annotated[
        str | None, typer.Option("--approve", help="Let the version in shadow serve; why, kept on record.")
    ] = None,
    refuse: Annotated[
        str | None, typer.Option("--refuse", help="Take the version in shadow away; why, kept on record.")
    ] = None,
    as_json: JsonOption = False,
    clock: ClockOption = "system",
) -> None:
    """Train a model again if its verdict, its schedule or new answers ask for it, and see it through.

    The cutoff moves to the newest for which the test's answers are known. What passes its gates answers
    in shadow; once enough of its answers have labels it is compared with the champion on the same rows,
    and promoted as the model's [retraining] says: by policy, or by a person with --approve. Each run goes
    on where the last one stopped, so it belongs into cron beside `knownat monitor`.

    Every step is a line of releases/retraining.jsonl: when, who, why, on what evidence.
    Exit code 1: a gate, the comparison or a rule said no. Exit code 2: an error.

    Example: knownat retrain late_arrival --reason "the timetable changed"
    """
    _refuse_odd([word for word in (reason, approve, refuse) if word is not None], models or [])
    from training.attempts import Outcome
    from training.registry import synchronise
    from training.retraining import Ask
    from training.retraining import retrain as advance

    workspace, opened = Workspace.at(repo), open_clock(clock)
    wanted = models or [
        name for name in model_names(workspace.models) if name in read_deployment(workspace.deployment).models
    ]
    ask, outcomes, problems = Ask(reason, approve, refuse), list[Outcome](), dict[str, str]()
    for model in dict.fromkeys(wanted):
        try:
            with stages() as progress:
                outcomes.append(advance(workspace, model, ask, clock=opened, progress=progress))
        except KnownatError as error:
            problems[model] = str(error)
    if any(outcome.lines for outcome in outcomes) and (missed := synchronise(workspace)):
        Console(stderr=True).print(missed, highlight=False, markup=False)
    if as_json:
        print_json(_document(outcomes, problems))
    else:
        _print(outcomes, problems)
    if problems:
        raise typer.Exit(_ERROR)
    if any(outcome.refused for outcome in outcomes):
        raise typer.Exit(1)


def _refuse_odd(words: Sequence[str], models: Sequence[str]) -> None:
    if len(words) > 1:
        raise typer.BadParameter("give one of --reason, --approve and --refuse")
    if any(not word.strip() for word in words):
        raise typer.BadParameter("a reason is kept on record; it cannot be empty")
    if words and len(models) != 1:
        raise typer.BadParameter("--reason, --approve and --refuse speak of one model; name it")


def _document(outcomes: "list[Outcome]", problems: dict[str, str]) -> list[dict[str, object]]:
    done: list[dict[str, object]] = [
        {
            "model": outcome.model,
            "told": outcome.told,
            "refused": outcome.refused,
            "steps": [line.as_json() for line in outcome.lines],
        }
        for outcome in outcomes
    ]
    done += [{"model": model, "problem": problem} for model, problem in problems.items()]
    return done


def _print(outcomes: "list[Outcome]", problems: dict[str, str]) -> None:
    console = Console()
    for outcome in outcomes:
        for told in outcome.told:
            console.print(f"{outcome.model}: {told}", highlight=False, markup=False, soft_wrap=True)
    for model, problem in problems.items():
        Console(stderr=True).print(f"{model}: {problem}", highlight=False, markup=False, soft_wrap=True)
