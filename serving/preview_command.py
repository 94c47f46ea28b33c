"""``knownat preview``: show a candidate to its users before anybody promotes it."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from knownat.contract.workspace import Workspace
from serving.commands import (
    ClockOption,
    JsonOption,
    KeysOption,
    PseudonymOption,
    RepoOption,
    check_clock,
    find_keys,
    write_port,
)


def preview(
    model: Annotated[str, typer.Argument(help="The model.")],
    version: Annotated[str, typer.Argument(help="The release's version, promoted or not.")],
    *,
    repo: RepoOption = Path("feature_repo"),
    port: Annotated[
        int, typer.Option("--port", help="Loopback port to bind; 0 takes a free one.", min=0, max=65535)
    ] = 8010,
    port_file: Annotated[
        Path | None, typer.Option("--port-file", help="Write the port there once ready.")
    ] = None,
    keys: KeysOption = None,
    pseudonym_key: PseudonymOption = None,
    clock: ClockOption = "system",
    as_json: JsonOption = False,
) -> None:
    """Serve one release alone, on this machine only, and print the address of its preview page.

    The page asks for the release's keys and inputs and shows its score, what moved it and where the
    features came from; what users say there is kept for `knownat feedback`. It says that the release
    is a candidate, whatever serves in production. Its answers are logged as pinned, so no report takes
    them for production's. It reads the online store: materialize new views first.

    Example: knownat preview late_arrival 4
    """
    from serving.addresses import bind_admin, bind_public, url_of
    from serving.worker import Sockets, WorkerConfig, run_worker

    check_clock(clock)
    keys_file = find_keys(Workspace.at(repo), keys)
    public = bind_public("127.0.0.1", port, keys=keys_file)
    (admin,) = bind_admin(0, 1)
    page = f"{url_of(public)}/v1/models/{model}/versions/{version}/preview"

    def announce(_: Mapping[str, str]) -> None:
        told = {"model": model, "version": version, "url": url_of(public), "page": page}
        line = json.dumps(told) if as_json else f"{model} {version}, not production: {page}"
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
        if port_file is not None:
            write_port(port_file, public.getsockname()[1])

    config = WorkerConfig(
        str(repo),
        keys=None if keys_file is None else str(keys_file),
        clock=clock,
        drain_seconds=0.0,
        pseudonym_key=None if pseudonym_key is None else str(pseudonym_key.resolve()),
        candidate=(model, version),
    )
    run_worker(config, Sockets(public, admin), on_ready=announce)
