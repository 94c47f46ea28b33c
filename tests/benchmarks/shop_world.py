"""One world for every server that is measured: the same customers, values and model, in each one's store."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
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
    work: str = "prediction over HTTP, 20 features"
    now_us: int = NOW_US

    @property
    def model(self) -> Path:
        """The model's text."""
        return self.folder / "model.txt"

    @property
    def repo(self) -> Path:
        """Feast's repo, over its own Redis store."""
        return self.folder / "Feast,_Redis"

    def home(self, who: str) -> Path:
        """Return the folder that a server runs in."""
        # Feast takes a relative registry from the folder that it runs in.
        return self.repo if who.startswith(("naive", "feast")) else ROOT

    def key(self, who: str) -> str | None:
        """Return the key that a server asks for."""
        home = self.folder / who.replace(" ", "_")
        return (home / "key").read_text() if who.startswith("ours") else None

    def command(self, who: str, port: int, workers: int) -> tuple[list[str], Mapping[str, str]]:
        """Return the command that starts a server, and what its environment needs."""
        here = ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
        kind, folder = who.partition(", ")[0], self.folder
        if kind == "ours":
            home = folder / who.replace(" ", "_")
            return knownat_command(home / "repo", home, here, clock=folder / "clock"), {}
        if kind == "bare uvicorn":
            return bare_command(here), {}
        if kind == "naive":
            return naive_command("tests.benchmarks.peers.naive:create_app", here), {
                "PEER_REPO": str(self.repo), "PEER_SERVICE": "bench", "PEER_MODEL": str(self.model),
                "PEER_COLUMNS": ",".join(COLUMNS),
            }  # fmt: skip
        if kind == "feast serve":
            # By default a worker ends after a thousand requests; starting the next would be counted as well.
            options = ["--no-access-log", "--max-requests", "1000000"]
            feast = str(Path(sys.executable).with_name("feast"))
            return [feast, "-c", str(self.repo), "serve", *here, *options], {}
        if kind == "MLflow":
            asked = ["-m", str(folder / "mlflow"), "--env-manager", "local", *here]
            return [str(PEERS / "mlflow"), "models", "serve", *asked], {
                "PATH": f"{PEERS}:/usr/bin:/bin", "DISABLE_NGINX": "true",
            }  # fmt: skip
        command = [str(PEERS / "bentoml"), "serve", "bento:Basket", *here[:4]]
        return [*command, "--working-dir", str(Path(__file__).parent / "peers")], {
            "PEER_MODEL": str(self.model), "PEER_WORKERS": str(workers), "BENTOML_DO_NOT_TRACK": "True",
        }  # fmt: skip

    def request(self, who: str, customers: list[int]) -> tuple[str, bytes]:
        """Return path and body of the request for these customers."""
        kind = who.partition(",")[0]
        if kind in ("ours", "bare uvicorn"):
            rows = [{"keys": {"customer": customer}} for customer in customers]
            body = rows[0] if len(rows) == 1 else {"rows": rows}
            return "/v1/models/basket/predict", json.dumps(body).encode()
        if kind == "naive":
            return "/predict", json.dumps({"customers": customers}).encode()
        if kind == "feast serve":
            asked = {"feature_service": "bench", "entities": {"customer": customers}}
            return "/get-online-features", json.dumps(asked).encode()
        values = self.values[customers].tolist()
        if kind == "MLflow":
            split = {"columns": [f"Column_{i}" for i in range(len(COLUMNS))], "data": values}
            return "/invocations", json.dumps({"dataframe_split": split}).encode()
        return "/predict", json.dumps({"rows": values}).encode()

    def scores_in(self, who: str, answer: bytes) -> list[float] | None:
        """Return the scores of an answer; nothing where the server gives none."""
        found = json.loads(answer)
        kind = who.partition(",")[0]
        if kind == "ours":
            return [row["score"] for row in found["predictions"]]
        if kind in ("feast serve", "bare uvicorn"):
            return None
        return list(
            found["scores"] if kind == "naive" else found["predictions"] if kind == "MLflow" else found
        )


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
    return World(folder, values, scores)


def knownat_command(repo: Path, home: Path, here: Sequence[str], *, clock: Path | None = None) -> list[str]:
    """Return the command of our server, its keys and its clock in ``home``."""
    command = [str(Path(sys.executable).with_name("knownat")), "serve", "--repo", str(repo), *here]
    options = ["--keys", str(home / "keys.json"), "--clock", f"file:{clock or home / 'clock'}"]
    return [*command, *options, "--drain-seconds", "0"]


def naive_command(app: str, here: Sequence[str]) -> list[str]:
    """Return the command of an app that a team writes first."""
    return [sys.executable, "-m", "uvicorn", "--factory", app, *here, "--no-access-log"]


def bare_command(here: Sequence[str]) -> list[str]:
    """Return the command of a server that gives everybody the same answer."""
    app = "tests.benchmarks.peers.bare:app"
    return [sys.executable, "-m", "uvicorn", app, *here, "--no-access-log", "--lifespan", "off"]
