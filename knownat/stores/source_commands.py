"""The commands of one who brings data: add a CSV as a private view, and share what is fit for others."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from knownat.contract.workspace import Workspace
from knownat.stores.commands import JsonOption, RepoOption, print_json

if TYPE_CHECKING:
    from rich.status import Status

    from knownat.stores.added_source import Choices, Question
    from knownat.stores.adding import Added, Request
    from knownat.stores.csv_values import ValueType

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def add_source(
    file: Annotated[Path, typer.Argument(help="A CSV file with a header.")],
    repo: RepoOption = Path("feature_repo"),
    *,
    owner: Annotated[
        str, typer.Option("--owner", help="Whose it is: an e-mail address.", envvar="KNOWNAT_OWNER")
    ] = "",
    name: Annotated[
        str, typer.Option("--name", help="The view's name; by default made of owner and file.")
    ] = "",
    key: Annotated[list[str] | None, typer.Option("--key", help="A column that names the entity.")] = None,
    event_time: Annotated[
        str | None, typer.Option("--event-time", help="The column that says when a row was true.")
    ] = None,
    known_at: Annotated[
        str | None, typer.Option("--known-at", help="The column that says when a row became known.")
    ] = None,
    known_after: Annotated[
        str | None,
        typer.Option("--known-after", help="How long after the event time a row became known: 1d, 2h, 0s."),
    ] = None,
    ttl: Annotated[
        str, typer.Option("--ttl", help="How long a value stays true: 30d, 12h, or forever.")
    ] = "",
    zone: Annotated[
        str | None, typer.Option("--zone", help="The zone of times without one: UTC, Europe/Berlin.")
    ] = None,
    epoch: Annotated[
        Literal["s", "ms", "us"] | None,
        typer.Option("--epoch", help="Times are whole numbers since 1970: s, ms or us."),
    ] = None,
    time_format: Annotated[
        str | None, typer.Option("--time-format", help="How times are written, e.g. '%d/%m/%Y %H:%M'.")
    ] = None,
    column_type: Annotated[
        list[str] | None, typer.Option("--type", help="COLUMN=int64, float64, bool or string.")
    ] = None,
    rename: Annotated[list[str] | None, typer.Option("--rename", help="COLUMN=feature_name.")] = None,
    skip: Annotated[list[str] | None, typer.Option("--skip", help="A column to leave out.")] = None,
    null: Annotated[
        list[str] | None, typer.Option("--null", help="A text that means a missing value.")
    ] = None,
    decimal: Annotated[Literal[".", ","], typer.Option("--decimal", help="'.' or ','.")] = ".",
    separator: Annotated[str | None, typer.Option("--separator", help="What is between two fields.")] = None,
    description: Annotated[str, typer.Option("--description", help="What the view means, for others.")] = "",
    describe: Annotated[list[str] | None, typer.Option("--describe", help="FEATURE=what it means.")] = None,
    replaces: Annotated[
        bool, typer.Option("--replace", help="Replace what was added under this name.")
    ] = False,
    materializes: Annotated[
        bool, typer.Option("--materialize", help="Put its rows online at once, too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Add a CSV to a feature repo as a private feature view: joinable at once, online after materialize.

    Keys and times are found out where the file is clear; what it does not say is asked for on a
    terminal, and named with its option elsewhere. A row that cannot be read exactly is named by its
    line, all of them at once, and then nothing is added.

    Example: knownat add-source spend.csv --owner ana@example.org --zone UTC
    """
    from knownat.stores.added_source import Choices
    from knownat.stores.adding import Request
    from knownat.stores.csv_times import TimeRules

    said = Choices(
        keys=tuple(key or ()),
        event_time=event_time,
        known_at=known_at,
        known_after=None if known_after is None else _span("--known-after", known_after),
        times=TimeRules(zone=zone, epoch=epoch, pattern=time_format),
        types=_types(column_type),
        names=dict(_pairs("--rename", rename)),
        skipped=tuple(skip or ()),
        decimal=decimal,
    )
    request = Request(
        file=file,
        owner=owner,
        view=name,
        choices=said,
        separator="\t" if separator == "\\t" else separator,
        nulls=tuple(null or ()),
        description=description,
        descriptions=dict(_pairs("--describe", describe)),
        ttl=ttl,
        replace=replaces,
        command=_command(),
    )
    workspace = Workspace.at(repo)
    with Console(stderr=True).status("reading, then registering") as status:
        added = _ask_until_clear(workspace, request, status)
        online = _put_online(workspace, added.view, materializes=materializes, replaced=replaces)
    _show(added, online=online, as_json=as_json)


def share(
    view: Annotated[str, typer.Argument(help="The private view.")],
    repo: RepoOption = Path("feature_repo"),
    *,
    most_null: Annotated[
        float,
        typer.Option("--max-null", help="The share of rows in which a feature may be null.", min=0, max=1),
    ] = 0.5,
    as_json: JsonOption = False,
) -> None:
    """Share a private view, if others can build on it; otherwise say everything that is missing.

    Checked: owner and descriptions, units in the names, a ttl that was decided, when each row became
    known, keys that fit their entities, the share of missing values. Exit code 1 if it is not shared.

    Example: knownat share ana_spend
    """
    from knownat.stores.sharing import share_view

    with Console(stderr=True).status("checking"):
        found = share_view(Workspace.at(repo).repo, view, most_null=most_null)
    if as_json:
        print_json(asdict(found))
    elif found.problems:
        console = Console()
        console.print(f"'{view}' is not shared:")
        for problem in found.problems:
            console.print(f"- {problem}", highlight=False, markup=False, soft_wrap=True)
    else:
        Console().print(f"'{view}' {'was shared before' if found.already else 'is shared'}.")
    if found.problems:
        raise typer.Exit(1)


def _ask_until_clear(workspace: Workspace, request: "Request", status: "Status") -> "Added":
    """Add it; on a terminal, ask what the file does not say."""
    from knownat.stores.adding import NeedsAnswers, add_source

    while True:
        try:
            return add_source(workspace.repo, request)
        except NeedsAnswers as open_:
            if not sys.stdin.isatty():
                raise
            status.stop()
            for question in open_.questions:
                request = ask(request, question)


def ask(request: "Request", question: "Question") -> "Request":
    """Ask a person on the terminal until the answer can be read."""
    while True:
        answer = typer.prompt(question.text, default=question.default, err=True)
        try:
            return answered(request, question, str(answer))
        except typer.BadParameter as odd:
            typer.echo(odd.message, err=True)


def answered(request: "Request", question: "Question", answer: str) -> "Request":
    """Put what a person answered where the question's option would have put it."""
    choices = request.choices
    change: dict[str, Callable[[], Choices]] = {
        "--key": lambda: replace(choices, keys=tuple(part.strip() for part in answer.split(","))),
        "--event-time": lambda: replace(choices, event_time=answer),
        "--known-at": lambda: replace(choices, known_at=answer),
        "--known-after": lambda: replace(choices, known_after=_span("--known-after", answer)),
        "--zone": lambda: replace(choices, times=replace(choices.times, zone=answer)),
    }
    if question.option == "--owner":
        return replace(request, owner=answer)
    return replace(request, choices=change[question.option]())


def _put_online(workspace: Workspace, view: str, *, materializes: bool, replaced: bool) -> bool:
    if not (materializes or replaced):
        return False
    from knownat.clock import SystemClock, from_us
    from knownat.stores.materialization import clear_online, materialize
    from knownat.stores.repo import open_repo

    repo = open_repo(workspace.repo)
    if replaced:
        # Rows that the new file no longer has must not stay, and none of its old ones be missed.
        clear_online(repo, only=[view])
    if materializes:
        materialize(repo, until=from_us(SystemClock().now_us()), views=[view])
    return materializes


def _show(added: "Added", *, online: bool, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(added), "online": online})
        return
    console = Console()
    console.print(f"{added.view}: {added.rows:,} rows, private to {added.owner}", soft_wrap=True)
    shown = Table("feature", "type")
    for feature, kind in added.features.items():
        shown.add_row(feature, kind)
    console.print(shown)
    keys = ", ".join(f"{name} ({kind})" for name, kind in added.keys.items())
    lines = [f"keys: {keys}", f"event time: '{added.event_time}'; known at: {added.known}", *added.remarks]
    lines += [f"definition: {added.definition}"]
    lines += [] if online else [f"joinable now; online after: knownat materialize --view {added.view}"]
    for line in lines:
        console.print(f"- {line}", highlight=False, markup=False, soft_wrap=True)


def _pairs(option: str, given: Sequence[str] | None) -> list[tuple[str, str]]:
    pairs = [text.partition("=") for text in given or ()]
    if odd := [text for text, sign, _ in pairs if not sign]:
        raise typer.BadParameter(f"{option} {odd[0]}: write {option} COLUMN=VALUE")
    return [(name, value) for name, _, value in pairs]


def _types(given: Sequence[str] | None) -> "dict[str, ValueType]":
    from knownat.stores.csv_values import VALUE_TYPES

    known = {str(kind): kind for kind in VALUE_TYPES}
    pairs = _pairs("--type", given)
    if odd := [kind for _, kind in pairs if kind not in known]:
        raise typer.BadParameter(f"--type '{odd[0]}': there are {list(known)}")
    return {column: known[kind] for column, kind in pairs}


def _span(option: str, text: str) -> timedelta:
    if len(text) < 2 or text[-1] not in _UNITS or not text[:-1].isdigit():
        raise typer.BadParameter(f"{option} '{text}': write a span as 1d, 2h, 30m or 0s")
    return timedelta(**{_UNITS[text[-1]]: int(text[:-1])})


def _command() -> tuple[str, ...]:
    return ("knownat", *sys.argv[1:])
