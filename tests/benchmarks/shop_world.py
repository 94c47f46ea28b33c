"""One world for every server that is measured: the same customers, values and model, in each one's store."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from knownat.stores.online_address import open_rows, read_address
from serving.keys import Scope, add_key
from tests.benchmarks.online_repos import ONE_ENTITY, WIDTHS, fill_copies, write_customers
from tests.serving.made_workspace import CUSTOMERS, NOW_US, deploy, expected, fill, make_workspace, release
from tests.serving.running import fill_lmdb
from tests.stores.packed.redis_server import RedisServer

TREES, LEAVES = 500, 63
ROOT = Path(__file__).parents[2]
PEERS = ROOT / ".venv-peers" / "bin"
COLUMNS = [f"{view}_{i}" for view, width in WIDTHS.items() for i in range(width)]
_SETTINGS = """\
project: shop
provider: local
registry: {registry_type: sql, path: sqlite:///data/registry.db}
offline_store: {type: duckdb}
online_store:
"""


@dataclass(frozen=True)
class World:
    """Where everything lies, and what each customer's score is."""

    folder: Path
    values: np.ndarray
    scores: list[float]
    key: str

    @property
    def model(self) -> Path:
        """The model's text."""
        return self.folder / "model.txt"

    @property
    def repo(self) -> Path:
        """Feast's repo, over its own Redis store."""
        return self.folder / "Feast,_Redis"


def make_world(folder: Path, redis: RedisServer) -> World:
    """Lay out Feast's repos, our workspaces and MLflow's model, all of one model and the same values."""
    write_customers(folder / "template", CUSTOMERS)
    fill_copies(ONE_ENTITY, folder, redis, ("Feast, Redis",))
    tables = [pq.read_table(folder / "template" / "data" / f"{view}.parquet") for view in WIDTHS]
    by_column = {name: table[name].to_numpy() for table in tables for name in table.column_names}
    values = np.column_stack([by_column[name] for name in COLUMNS])[:CUSTOMERS]
    stores = {
        "ours, LMDB": "  {type: knownat.stores.lmdb_online.LmdbOnlineStore, path: data/online_rows}\n",
        "ours, Redis": "  {type: knownat.stores.redis_online.RedisOnlineStore, "
        f'connection_string: "127.0.0.1:{redis.port},db=5", socket_seconds: 1, read_deadline_seconds: 1}}\n',
    }
    scores: list[float] = []
    key = ""
    for who, store in stores.items():
        made = make_workspace(folder / who.replace(" ", "_"), settings=_SETTINGS + store)
        made = replace(made, values=values)
        champion = release(made, "2", trees=TREES, leaves=LEAVES)
        deploy(made, champion=champion)
        if who == "ours, LMDB":
            fill_lmdb(made)
        else:
            address = read_address(made.workspace.repo)
            assert address is not None
            fill(made, open_rows(address))
        scores = expected(made, champion, range(CUSTOMERS))
        shutil.copy(champion.path / "model.txt", folder / "model.txt")
        keys = made.workspace.home / "keys.json"
        _, key = add_key(keys, "bench", frozenset({Scope.PREDICT}), now_us=NOW_US, days=None)
        (made.workspace.home / "key").write_text(key)
    if PEERS.exists():
        save = Path(__file__).parent / "peers" / "save_for_mlflow.py"
        command = [str(PEERS / "python"), str(save), str(folder / "model.txt"), str(folder / "mlflow")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return World(folder, values, scores, key)


def command_of(who: str, world: World, port: int, workers: int) -> tuple[list[str], Mapping[str, str]]:
    """Return the command that starts a server, and what its environment needs."""
    python, folder = sys.executable, world.folder
    here = ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
    kind = who.partition(", ")[0]
    if kind == "ours":
        home = folder / who.replace(" ", "_")
        command = [str(Path(python).with_name("knownat")), "serve", "--repo", str(home / "repo"), *here]
        options = ["--keys", str(home / "keys.json"), "--clock", f"file:{folder / 'clock'}"]
        return [*command, *options, "--drain-seconds", "0"], {}
    repo = str(world.repo)
    if kind == "naive":
        app = "tests.benchmarks.peers.naive:create_app"
        columns = ",".join(COLUMNS)
        return [python, "-m", "uvicorn", "--factory", app, *here, "--no-access-log"], {
            "PEER_REPO": repo, "PEER_MODEL": str(world.model), "PEER_COLUMNS": columns,
        }  # fmt: skip
    if kind == "feast serve":
        # By default a worker ends after a thousand requests; starting the next would be counted as well.
        options = ["--no-access-log", "--max-requests", "1000000"]
        return [str(Path(python).with_name("feast")), "-c", repo, "serve", *here, *options], {}
    if kind == "MLflow":
        model = str(folder / "mlflow")
        return [str(PEERS / "mlflow"), "models", "serve", "-m", model, "--env-manager", "local", *here], {
            "PATH": f"{PEERS}:/usr/bin:/bin", "DISABLE_NGINX": "true",
        }  # fmt: skip
    command = [str(PEERS / "bentoml"), "serve", "bento:Basket", *here[:4]]
    return [*command, "--working-dir", str(Path(__file__).parent / "peers")], {
        "PEER_MODEL": str(world.model), "PEER_WORKERS": str(workers), "BENTOML_DO_NOT_TRACK": "True",
    }  # fmt: skip


def request_of(who: str, world: World, customers: list[int]) -> tuple[str, bytes]:
    """Return path and body of the request for these customers."""
    kind = who.partition(",")[0]
    if kind == "ours":
        rows = [{"keys": {"customer": customer}} for customer in customers]
        return "/v1/models/basket/predict", json.dumps(rows[0] if len(rows) == 1 else {"rows": rows}).encode()
    if kind == "naive":
        return "/predict", json.dumps({"customers": customers}).encode()
    if kind == "feast serve":
        asked = {"feature_service": "bench", "entities": {"customer": customers}}
        return "/get-online-features", json.dumps(asked).encode()
    values = world.values[customers].tolist()
    if kind == "MLflow":
        split = {"columns": [f"Column_{i}" for i in range(len(COLUMNS))], "data": values}
        return "/invocations", json.dumps({"dataframe_split": split}).encode()
    return "/predict", json.dumps({"rows": values}).encode()


def scores_in(who: str, answer: bytes) -> list[float] | None:
    """Return the scores of an answer; nothing where the server gives features only."""
    found = json.loads(answer)
    kind = who.partition(",")[0]
    if kind == "ours":
        return [row["score"] for row in found["predictions"]]
    if kind == "feast serve":
        return None
    return list(found["scores"] if kind == "naive" else found["predictions"] if kind == "MLflow" else found)
