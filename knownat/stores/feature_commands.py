"""``knownat features``: build their tables, find them, look at their values, join them."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from knownat.clock import from_us, open_clock
from knownat.contract.workspace import Workspace
from knownat.stores.commands import ClockOption, JsonOption, RepoOption, parse_time, print_json, progress_bar

features = typer.Typer(help="Find, look at, join and build the features of a repo.", no_args_is_help=True)


@features.callback()
def _features() -> None:
    """Find, look at, join and build the features of a repo."""


@features.command("build")
def build(repo: RepoOption = Path("feature_repo"), as_json: JsonOption = False) -> None:
    """Run the repo's pipelines and write one Parquet file a feature table.

    Tables whose inputs did not change are kept. The same inputs give the same bytes.

    Example: knownat features build --repo feature_repo
    """
    from knownat.stores.pipelines import build_features

    workspace = Workspace.at(repo)
    with progress_bar() as bar:
        task = bar.add_task("feature tables", total=None)
        tables = build_features(
            workspace.repo, progress=lambda name: bar.update(task, advance=1, description=name)
        )
    if as_json:
        print_json([{**asdict(table), "path": str(table.path)} for table in tables])
        return
    shown = Table("table", "rows", "sha256", title=f"Feature tables in {workspace.data}")
    for table in tables:
        shown.add_row(table.name, f"{table.rows:,}", table.sha256[:12])
    Console().print(shown)


@features.command("list")
def list_(
    repo: RepoOption = Path("feature_repo"),
    *,
    owner: Annotated[str | None, typer.Option("--owner", help="Only what is theirs.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List every view with its features, its owner and who builds on it; no table is read.

    Example: knownat features list --owner ana@example.org
    """
    from knownat.stores.catalogue import read_catalogue
    from knownat.stores.catalogue_pages import say_consumers
    from knownat.stores.repo import open_repo

    catalogue = read_catalogue(open_repo(Workspace.at(repo).repo))
    views = [view for view in catalogue.views if owner is None or view.owner == owner]
    if as_json:
        print_json([asdict(view) for view in views])
        return
    shown = Table("view", "features", "of", "owner", "sharing", "built on by")
    for view in views:
        about = ", ".join(view.entities) or view.kind
        by = say_consumers([c for c in view.consumers if c.kind != "service"])
        shown.add_row(view.name, str(len(view.features)), about, view.owner, view.sharing, by)
    Console().print(shown)


@features.command("search")
def search_(
    words: Annotated[
        list[str], typer.Argument(help="Words of names, descriptions, units, entities, owners, tags.")
    ],
    repo: RepoOption = Path("feature_repo"),
    *,
    limit: Annotated[int, typer.Option("--limit", help="How many to show.", min=1)] = 20,
    as_json: JsonOption = False,
) -> None:
    """Find features by words, the best first. Exit code 1 if there is none.

    Example: knownat features search departure delay 3h
    """
    from knownat.stores.catalogue import read_catalogue
    from knownat.stores.catalogue_search import search
    from knownat.stores.repo import open_repo

    found = search(read_catalogue(open_repo(Workspace.at(repo).repo)), " ".join(words), limit=limit)
    if as_json:
        hits = [
            {**asdict(hit.feature), "reference": hit.feature.reference, "owner": hit.view.owner,
             "sharing": hit.view.sharing, "score": hit.score} for hit in found.hits
        ]  # fmt: skip
        print_json({"hits": hits, "did_you_mean": list(found.did_you_mean)})
    elif found.hits:
        shown = Table("feature", "unit", "window", "owner", "description")
        for hit in found.hits:
            each = hit.feature
            described = each.description or hit.view.description
            shown.add_row(each.reference, each.unit or "", each.window or "", hit.view.owner, described)
        Console().print(shown)
    else:
        meant = f" Did you mean {', '.join(found.did_you_mean)}?" if found.did_you_mean else ""
        Console().print(f"No feature answers all of {words}.{meant}", highlight=False, markup=False)
    if not found.hits:
        raise typer.Exit(1)


@features.command("show")
def show(
    name: Annotated[str, typer.Argument(help="A view, or one of its features as VIEW:FEATURE.")],
    repo: RepoOption = Path("feature_repo"),
    *,
    as_json: JsonOption = False,
) -> None:
    """Show one view: owner, people to tell, freshness, origin, cost, and each feature's share of nulls.

    Example: knownat features show origin_departures
    """
    from knownat.stores.catalogue_text import find_entry, page_of
    from knownat.stores.repo import open_repo

    page = page_of(open_repo(Workspace.at(repo).repo), *find_entry(name))
    if as_json:
        print_json(page.as_json())
        return
    console = Console()
    for line in page.lines():
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    shown = Table("feature", "type", "unit", "window", "null", "read by", "description")
    for row in page.rows():
        shown.add_row(*row)
    console.print(shown)


@features.command("pages")
def pages(
    repo: RepoOption = Path("feature_repo"),
    *,
    output: Annotated[
        Path | None, typer.Option("--output", help="Folder to write; reports/features by default.")
    ] = None,
    feast_ui: Annotated[
        str, typer.Option("--feast-ui", help="Where `feast ui` runs, for the links to it.")
    ] = "http://localhost:8888",
    clock: ClockOption = "system",
    as_json: JsonOption = False,
) -> None:
    """Write the catalogue as pages that open from a disk: an index with a search, and a page a view.

    Example: knownat features pages --output public/features
    """
    from knownat.stores.catalogue_pages import measure_all, write_pages
    from knownat.stores.repo import open_repo

    workspace = Workspace.at(repo)
    opened = open_repo(workspace.repo)
    with progress_bar() as bar:
        task = bar.add_task("views", total=None)
        measured = measure_all(opened, progress=lambda name: bar.update(task, advance=1, description=name))
    index = write_pages(
        measured,
        output or workspace.reports / "features",
        workspace=workspace,
        now=from_us(open_clock(clock).now_us()),
        feast_ui=feast_ui,
    )
    if as_json:
        print_json({"index": str(index), "views": len(measured.catalogue.views)})
        return
    Console().print(f"Open {index}", soft_wrap=True)


@features.command("get")
def get(
    name: Annotated[str, typer.Argument(help="A view, or one of its features as VIEW:FEATURE.")],
    repo: RepoOption = Path("feature_repo"),
    *,
    key: Annotated[
        list[str] | None, typer.Option("--key", help="KEY=VALUE of the entity, and each request input.")
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="As it was known then (ISO 8601, UTC). Default: now.")
    ] = None,
    clock: ClockOption = "system",
    as_json: JsonOption = False,
) -> None:
    """Show an entity's values twice: as a training frame has them, and as an online answer does.

    With --at only the first: online there is but now.

    Example: knownat features get ana_spend --key customer_id=7
    """
    from knownat.stores.looking import look_up
    from knownat.stores.repo import open_repo

    moment = parse_time(at) if at else from_us(open_clock(clock).now_us())
    opened = open_repo(Workspace.at(repo).repo)
    looked = look_up(opened, name, dict(_pairs(key)), at=moment, online=at is None)
    if as_json:
        print_json({**asdict(looked), "agree": looked.agree})
        return
    shown = Table(
        "feature", "training frame", title=f"{' '.join(key or ())} at {moment:%Y-%m-%d %H:%M:%S} UTC"
    )
    if looked.online is not None:
        shown.add_column("online")
    for feature, value in looked.offline.items():
        more = () if looked.online is None else (_value(looked.online[feature]),)
        shown.add_row(feature, _value(value), *more)
    Console().print(shown)
    if at is None and looked.online is None:
        Console().print("Not online yet: knownat materialize")


@features.command("join")
def join(
    questions: Annotated[
        Path, typer.Argument(help="CSV or Parquet: keys, event_timestamp, and what else you have.")
    ],
    feature: Annotated[
        list[str], typer.Option("--feature", help="VIEW:FEATURE, or VIEW for all of a view's; repeat it.")
    ],
    output: Annotated[Path, typer.Option("--output", help="The frame, as Parquet or CSV by its ending.")],
    repo: RepoOption = Path("feature_repo"),
    *,
    as_json: JsonOption = False,
) -> None:
    """Join questions with features as they were known at each one's time, row by row, in order.

    Example: knownat features join questions.csv --feature ana_spend --output frame.parquet
    """
    from knownat.stores.frames import join_file
    from knownat.stores.repo import open_repo

    joined = join_file(open_repo(Workspace.at(repo).repo), questions, feature, output)
    if as_json:
        print_json({"rows": joined.num_rows, "columns": joined.column_names, "path": str(output)})
        return
    Console().print(f"{joined.num_rows:,} rows with {len(joined.column_names)} columns: {output}")


def _pairs(given: Sequence[str] | None) -> list[tuple[str, str]]:
    pairs = [text.partition("=") for text in given or ()]
    if odd := [name for name, sign, _ in pairs if not sign]:
        raise typer.BadParameter(f"--key {odd[0]}: write --key KEY=VALUE")
    return [(name, value) for name, _, value in pairs]


def _value(value: object) -> str:
    return "[dim]null[/dim]" if value is None else str(value)
