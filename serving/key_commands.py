"""``knownat keys``: make, list and revoke the keys that callers of a scorer carry."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from knownat.clock import SystemClock
from knownat.contract.workspace import Workspace
from serving.keys import KEYS_FILE, ApiKey, Scope, add_key, read_keys, revoke_key

app = typer.Typer(help="Make, list and revoke the keys that callers of a scorer carry.", no_args_is_help=True)

RepoOption = Annotated[
    Path, typer.Option("--repo", help="The Feast feature repo.", envvar="KNOWNAT_REPO", show_default=True)
]
KeysOption = Annotated[
    Path | None,
    typer.Option("--keys", help="File of keys. Default: keys.json beside the repo.", envvar="KNOWNAT_KEYS"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Who will call: a service or a team.")],
    *,
    scope: Annotated[list[Scope], typer.Option("--scope", help="What it may do; repeat for several.")],
    days: Annotated[
        int | None, typer.Option("--days", help="How long it holds. Default: for ever.", min=1)
    ] = None,
    per_second: Annotated[
        float | None, typer.Option("--per-second", help="Most requests a second, of each worker.", min=0.001)
    ] = None,
    repo: RepoOption = Path("feature_repo"),
    keys: KeysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it, once: only its hash is kept.

    To replace a key, make the next one, give it to the caller, then revoke the old one. Running
    scorers take up a change within a second.

    Example: knownat keys add checkout --scope predict --scope label --days 90
    """
    made, text = add_key(
        _file(repo, keys),
        name,
        frozenset(scope),
        now_us=SystemClock().now_us(),
        days=days,
        requests_per_second=per_second,
    )
    _print(json.dumps({**_told(made), "key": text}) if as_json else text)


@app.command("list")
def list_keys(
    *, repo: RepoOption = Path("feature_repo"), keys: KeysOption = None, as_json: JsonOption = False
) -> None:
    """List the keys that were made: whose they are, what they may do, and until when."""
    found = [_told(key) for key in read_keys(_file(repo, keys)).keys]
    if as_json:
        _print(json.dumps(found))
        return
    for key in found:
        _print("  ".join(str(key[part]) for part in ("id", "name", "scopes", "state")))


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `knownat keys list` gives it.")],
    *,
    repo: RepoOption = Path("feature_repo"),
    keys: KeysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a key; running scorers refuse it within a second."""
    told = _told(revoke_key(_file(repo, keys), key_id, now_us=SystemClock().now_us()))
    _print(json.dumps(told) if as_json else f"{told['id']} ({told['name']}) is {told['state']}.")


def _told(key: ApiKey) -> dict[str, object]:
    if key.revoked_at is not None:
        state = f"revoked {key.revoked_at:%Y-%m-%d %H:%MZ}"
    elif key.not_after is None:
        state = "good"
    else:
        over = "" if key.usable(SystemClock().now_us()) else "over since "
        state = f"{over or 'good until '}{key.not_after:%Y-%m-%d %H:%MZ}"
    return {"id": key.id, "name": key.name, "scopes": ",".join(sorted(key.scopes)), "state": state}


def _file(repo: Path, keys: Path | None) -> Path:
    return (keys or Workspace.at(repo).home / KEYS_FILE).resolve()


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
