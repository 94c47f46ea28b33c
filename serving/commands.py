"""The scorer's commands: serve over HTTP, score a file."""

import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from knownat.clock import Clock, open_clock
from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError

RepoOption = Annotated[
    Path, typer.Option("--repo", help="The Feast feature repo.", envvar="KNOWNAT_REPO", show_default=True)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
ClockOption = Annotated[str, typer.Option("--clock", help="'system', or 'file:PATH' for a simulated clock.")]


def serve(
    *,
    repo: RepoOption = Path("feature_repo"),
    as_json: JsonOption = False,
    host: Annotated[str, typer.Option("--host", help="Address to bind.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", help="Port to bind; 0 takes a free one.", min=0, max=65535)
    ] = 8000,
    port_file: Annotated[
        Path | None, typer.Option("--port-file", help="Write the port there once ready.")
    ] = None,
    clock: ClockOption = "system",
    workers: Annotated[
        int, typer.Option("--workers", help="Processes that answer on this port.", min=1, max=256)
    ] = 1,
    drain_seconds: Annotated[
        float, typer.Option("--drain-seconds", help="After SIGTERM, answer unready for so long first.", min=0)
    ] = 1.0,
    allow_unauthenticated: Annotated[
        bool, typer.Option("--allow-unauthenticated", help="Bind an address that others can reach.")
    ] = False,
) -> None:
    """Answer predictions over HTTP from the releases that were promoted.

    Prints one line with the address once ready. Promote another version and it is taken up within a
    second, after a trial load; one that cannot be loaded is refused and the old one serves on.
    Every answer is in the prediction log first.

    Example: knownat serve --port 8000
    Then: curl -X POST localhost:8000/v1/models/MODEL/predict -d '{"keys": {...}, "inputs": {...}}'
    """
    from serving.addresses import bind, url_of
    from serving.supervisor import Supervisor
    from serving.worker import WorkerConfig, run_worker

    _clock(clock)
    verbose = logging.getLogger().isEnabledFor(logging.INFO)
    config = WorkerConfig(str(repo), clock=clock, drain_seconds=drain_seconds, verbose=verbose)
    bound = bind(host, port, allow_unauthenticated=allow_unauthenticated)

    def announce(versions: Mapping[str, str]) -> None:
        _announce(url_of(bound), versions, as_json=as_json)
        if port_file is not None:
            _write_port(port_file, bound.getsockname()[1])

    if workers == 1:
        run_worker(config, bound, on_ready=announce)
    else:
        Supervisor(config, bound, count=workers, on_ready=announce).run()


def score(
    model: Annotated[str, typer.Argument(help="The model.")],
    source: Annotated[Path, typer.Argument(help="Parquet with the keys, event_timestamp and inputs.")],
    target: Annotated[Path, typer.Argument(help="Parquet to write: the same rows, scored.")],
    *,
    repo: RepoOption = Path("feature_repo"),
    as_json: JsonOption = False,
    version: Annotated[
        str | None, typer.Option("--version", help="A release's version. Default: the one that serves.")
    ] = None,
) -> None:
    """Score the rows of a Parquet file, each with what was known at its event_timestamp.

    Every row comes out once, in order, with prediction_id, model, version and score. The rows are not
    written to the prediction log: the file is their record.

    Example: knownat score late_arrival october.parquet scored.parquet
    """
    from serving.batch import score_file
    from serving.features import open_history

    workspace = Workspace.at(repo)
    done = score_file(workspace, model, source, target, version=version, history=open_history(workspace.repo))
    if as_json:
        _print(json.dumps({"model": model, "version": done.version, "rows": done.rows, "path": str(target)}))
    else:
        _print(f"{done.rows:,} rows scored by {model} {done.version}: {target}")


def _clock(text: str) -> Clock:
    try:
        return open_clock(text)
    except ValueError as error:
        raise ConfigError("--clock", [str(error)]) from error


def _announce(url: str, models: Mapping[str, str], *, as_json: bool) -> None:
    if as_json:
        _print(json.dumps({"url": url, "models": dict(models)}))
    else:
        listed = ", ".join(f"{name} {version}" for name, version in sorted(models.items()))
        _print(f"Serving {listed} at {url}")


def _write_port(path: Path, port: int) -> None:
    # Renamed into place, so whoever waits for the file never reads half a number.
    staged = path.with_name(f".{path.name}")
    staged.write_text(f"{port}\n", encoding="utf-8")
    staged.replace(path)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
