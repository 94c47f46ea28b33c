"""The scorer's commands: serve over HTTP, score a file."""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from knownat.clock import Clock, from_us, open_clock
from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError

RepoOption = Annotated[
    Path, typer.Option("--repo", help="The Feast feature repo.", envvar="KNOWNAT_REPO", show_default=True)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
KeysOption = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        help="File of API keys. Default: keys.json beside the repo, if it is there.",
        envvar="KNOWNAT_KEYS",
    ),
]
PseudonymOption = Annotated[
    Path | None,
    typer.Option(
        "--pseudonym-key",
        help="File of the secret that keys are hashed with in the log, where a model declares them so.",
        envvar="KNOWNAT_PSEUDONYM_KEY",
    ),
]
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
    keys: KeysOption = None,
    admin_port: Annotated[
        int | None,
        typer.Option(
            "--admin-port",
            help="First loopback port for /metrics and operators, one a worker. Default: the port after.",
            min=0,
            max=65535,
        ),
    ] = None,
    max_body_bytes: Annotated[
        int, typer.Option("--max-body-bytes", help="A longer request is refused with 413.", min=1_024)
    ] = 8 << 20,
    pseudonym_key: PseudonymOption = None,
    max_pending: Annotated[
        int, typer.Option("--max-pending", help="More requests waiting in a worker are refused.", min=1)
    ] = 100,
) -> None:
    """Answer predictions over HTTP from the releases that were promoted.

    Prints one line with the address once ready. Promote another version and it is taken up within a
    second, after a trial load; one that cannot be loaded is refused and the old one serves on.
    Every answer is in the prediction log first.

    Example: knownat serve --port 8000
    Then: curl -X POST localhost:8000/v1/models/MODEL/predict -d '{"keys": {...}, "inputs": {...}}'
    """
    from serving.addresses import bind_admin, bind_public, url_of, urls_of
    from serving.supervisor import Supervisor
    from serving.worker import Sockets, WorkerConfig, run_worker

    check_clock(clock)
    keys_file = find_keys(Workspace.at(repo), keys)
    public = bind_public(host, port, keys=keys_file)
    admin = bind_admin((port + 1 if port else 0) if admin_port is None else admin_port, workers)
    config = WorkerConfig(
        str(repo),
        keys=None if keys_file is None else str(keys_file),
        clock=clock,
        drain_seconds=drain_seconds,
        max_body_bytes=max_body_bytes,
        max_pending=max_pending,
        pseudonym_key=None if pseudonym_key is None else str(pseudonym_key.resolve()),
        verbose=logging.getLogger().isEnabledFor(logging.INFO),
    )

    def announce(versions: Mapping[str, str]) -> None:
        _announce(url_of(public), urls_of(admin), versions, as_json=as_json)
        if port_file is not None:
            write_port(port_file, public.getsockname()[1])

    sockets = [Sockets(public, one) for one in admin]
    if workers == 1:
        run_worker(config, sockets[0], on_ready=announce)
    else:
        Supervisor(config, sockets, on_ready=announce).run()


def score(
    model: Annotated[str, typer.Argument(help="The model.")],
    source: Annotated[
        Path, typer.Argument(help="Parquet, or a folder of it: keys, event_timestamp, inputs.")
    ],
    target: Annotated[Path, typer.Argument(help="Parquet to write: the same rows, scored.")],
    *,
    repo: RepoOption = Path("feature_repo"),
    as_json: JsonOption = False,
    version: Annotated[
        str | None, typer.Option("--version", help="A release's version. Default: the one that serves.")
    ] = None,
    batch_rows: Annotated[
        int,
        typer.Option(
            "--batch-rows", help="Rows joined at once: more is faster, and takes more memory.", min=1
        ),
    ] = 131_072,
) -> None:
    """Score the rows of Parquet files of any size, each with what was known at its event_timestamp.

    Every row comes out once, in order, with prediction_id, model, version, degraded and score. The target
    appears once it is whole. The rows are not written to the prediction log: the file is their record.

    Example: knownat score late_arrival october.parquet scored.parquet
    """
    from knownat.stores.commands import progress_bar
    from serving.batch import score_file
    from serving.features import open_history

    workspace = Workspace.at(repo)
    with progress_bar() as bar:
        task = bar.add_task("rows scored", total=None)
        done = score_file(
            workspace,
            model,
            source,
            target,
            version=version,
            history=open_history(workspace.repo),
            batch_rows=batch_rows,
            progress=lambda done, rows: bar.update(task, completed=done, total=rows),
        )
    if as_json:
        _print(json.dumps({"model": model, "version": done.version, "rows": done.rows, "path": str(target)}))
    else:
        _print(f"{done.rows:,} rows scored by {model} {done.version}: {target}")


def retire(
    model: Annotated[str, typer.Argument(help="The model.")],
    version: Annotated[
        str | None, typer.Argument(help="The version. Default: the whole model, every version.")
    ] = None,
    *,
    repo: RepoOption = Path("feature_repo"),
    quiet_minutes: Annotated[
        int, typer.Option("--quiet-minutes", help="How long nobody may have asked for it.", min=1)
    ] = 60,
    force: Annotated[bool, typer.Option("--force", help="Although somebody still asks for it.")] = False,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; kept on record.")] = None,
    as_json: JsonOption = False,
    clock: ClockOption = "system",
) -> None:
    """Take a version out of service; who asks for it gets 410 and is told what serves instead.

    Refuses while there is traffic. The release stays on disk: promote it again to go back.

    Example: knownat retire late_arrival 3
    """
    from serving.retirement import retire as retire_release

    now = from_us(check_clock(clock).now_us())
    quiet = timedelta(minutes=quiet_minutes)
    after = retire_release(
        Workspace.at(repo), model, version, now=now, quiet=quiet, force=force, reason=reason
    )
    if as_json:
        _print(json.dumps(after.model_dump(mode="json")))
    else:
        _print(f"{model} {version or '(every version)'} is retired; who asks for it gets 410.")


def check_clock(text: str) -> Clock:
    """Open the clock that a command was given.

    Raises
    ------
    ConfigError
        If it names none.
    """
    try:
        return open_clock(text)
    except ValueError as error:
        raise ConfigError("--clock", [str(error)]) from error


def find_keys(workspace: Workspace, given: Path | None) -> Path | None:
    """Return the file of keys, if keys are asked for: the named one, or the workspace's if it is there.

    Raises
    ------
    ConfigError
        If the named one is not there.
    """
    from serving.keys import KEYS_FILE

    path = (given or workspace.home / KEYS_FILE).resolve()
    if given is not None and not path.exists():
        raise ConfigError(path, ["there are no keys; make one: knownat keys add NAME --scope predict"])
    return path if path.exists() else None


def _announce(url: str, admin: list[str], models: Mapping[str, str], *, as_json: bool) -> None:
    if as_json:
        _print(json.dumps({"url": url, "admin": admin, "models": dict(models)}))
    else:
        listed = ", ".join(f"{name} {version}" for name, version in sorted(models.items()))
        metrics = " ".join(f"{one}/metrics" for one in admin)
        _print(f"Serving {listed} at {url} (metrics: {metrics})")


def write_port(path: Path, port: int) -> None:
    """Tell whoever waits for the file which port was bound."""
    # Renamed into place, so whoever waits for the file never reads half a number.
    staged = path.with_name(f".{path.name}")
    staged.write_text(f"{port}\n", encoding="utf-8")
    staged.replace(path)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
