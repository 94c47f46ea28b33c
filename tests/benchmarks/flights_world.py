"""The flights' service for the servers that are measured on it: the demo's release, asked at one moment."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from knownat.clock import FileClock, to_us
from knownat.contract.model_spec import read_spec
from knownat.contract.read_plan import Status
from knownat.contract.release import Release, read_deployment, read_release
from knownat.contract.workspace import Workspace
from knownat.scoring.scorer import Scorer
from knownat.stores.history import historical_frame
from knownat.stores.materialization import materialize
from knownat.stores.online_address import open_rows, read_address
from knownat.stores.packed_read import PackedReader
from knownat.stores.repo import apply_repo, open_repo
from serving.keys import Scope, add_key
from tests.benchmarks.contenders import measure
from tests.benchmarks.online_repos import OURS, online_store
from tests.benchmarks.shop_world import ROOT, bare_command, knownat_command, naive_command
from tests.stores.packed.redis_server import RedisServer
from training.examples import read_examples

MODEL = "late_arrival"
ASKED = datetime(2013, 10, 15, 12, tzinfo=UTC)
_DEMO = ROOT / "build" / "demo"
_WHO = ("ours, LMDB", "ours, Redis", "naive, Redis")


@dataclass(frozen=True)
class FlightsWorld:
    """Where everything lies, what is asked, and each flight's score as the offline features give it."""

    folder: Path
    rows: list[Mapping[str, Mapping[str, object]]]
    scores: list[float]
    naive: Mapping[str, str]
    """What the naive server's environment needs."""
    work: str = "prediction over HTTP, the flights' service"
    now_us: int = to_us(ASKED)

    def home(self, who: str) -> Path:
        """Return the folder that a server runs in."""
        # Feast takes a relative registry from the folder that it runs in.
        return _home(self.folder, who) / "feature_repo" if who.startswith("naive") else ROOT

    def key(self, who: str) -> str | None:
        """Return the key that a server asks for."""
        return (_home(self.folder, who) / "key").read_text() if who.startswith("ours") else None

    def command(self, who: str, port: int, workers: int) -> tuple[list[str], Mapping[str, str]]:
        """Return the command that starts a server, and what its environment needs."""
        here = ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
        if who.startswith("ours"):
            home = _home(self.folder, who)
            return knownat_command(home / "feature_repo", home, here, clock=self.folder / "clock"), {}
        if who == "bare uvicorn":
            return bare_command(here), {}
        return naive_command("tests.benchmarks.peers.naive_flights:create_app", here), self.naive

    def request(self, who: str, flights: list[int]) -> tuple[str, bytes]:
        """Return path and body of the request for these flights."""
        rows = [self.rows[flight] for flight in flights]
        if not who.startswith("naive"):
            body = rows[0] if len(rows) == 1 else {"rows": rows}
            return f"/v1/models/{MODEL}/predict", json.dumps(body).encode()
        question = {"question_epoch_us": self.now_us}
        flat = [{**row["keys"], **row["inputs"], **question} for row in rows]
        return "/predict", json.dumps({"rows": flat}).encode()

    def scores_in(self, who: str, answer: bytes) -> list[float] | None:
        """Return the scores of an answer; nothing where the server gives none."""
        found = json.loads(answer)
        if who.startswith("ours"):
            return [row["score"] for row in found["predictions"]]
        return found["scores"] if who.startswith("naive") else None


def make_flights_world(folder: Path, redis: RedisServer) -> FlightsWorld:
    """Give each server a copy of the demo's workspace, its online rows written up to the moment of asking."""
    if not (_DEMO / "releases" / "deployment.json").exists():
        subprocess.run([sys.executable, "-m", "tests.loop.demo"], check=True)
    FileClock(folder / "clock").move_to(to_us(ASKED))
    for who in _WHO:
        _lay_out(_home(folder, who), who, redis)
        measure("tests.benchmarks.flights_world:filling", repeat=0, home=str(_home(folder, who)), who=who)
    workspace = Workspace.at(_home(folder, _WHO[0]) / "feature_repo")
    release, asked = _champion(workspace), _questions(workspace)
    frame = historical_frame(
        open_repo(workspace.repo), asked, read_spec(workspace.model_file(MODEL)).feature_service
    )
    return FlightsWorld(
        folder, _bodies(workspace, asked), Scorer.load(release).score(frame).tolist(), _naive(folder, release)
    )


def filling(home: str, who: str) -> Callable[[], None]:
    """Return the call that applies a repo and writes its online rows."""

    def call() -> None:
        repo = Path(home) / "feature_repo"
        apply_repo(repo)
        if who.startswith("ours"):
            materialize(open_repo(repo), until=ASKED, clock=FileClock(Path(home).parent / "clock"))
        else:
            # By Feast's own engine it would hold weather that is known an hour after it is asked.
            open_repo(repo).store.materialize(datetime(2000, 1, 1, tzinfo=UTC), ASKED)

    return call


def _home(folder: Path, who: str) -> Path:
    return folder / who.replace(" ", "_")


def _lay_out(home: Path, who: str, redis: RedisServer) -> None:
    ignored = shutil.ignore_patterns("registry*", "online_rows*", "__pycache__")
    shutil.copytree(_DEMO / "feature_repo", home / "feature_repo", ignore=ignored)
    shutil.copytree(_DEMO / "releases", home / "releases")
    file = home / "feature_repo" / "feature_store.yaml"
    settings = yaml.safe_load(file.read_text()) | OURS
    settings["online_store"] = online_store(who if who.startswith("ours") else "Feast, Redis", redis)
    file.write_text(yaml.safe_dump(settings))
    _, key = add_key(home / "keys.json", "bench", frozenset({Scope.PREDICT}), now_us=to_us(ASKED), days=None)
    (home / "key").write_text(key)


def _champion(workspace: Workspace) -> Release:
    champion = read_deployment(workspace.deployment).models[MODEL].champion
    return read_release(workspace.releases / MODEL / champion.version, digest=champion.digest)


def _questions(workspace: Workspace) -> pa.Table:
    """Take the next day's flights that flew, all of them asked at one moment.

    Those with an expired row are left out: Feast's own store would serve it.
    """
    spec = read_spec(workspace.model_file(MODEL))
    examples = read_examples(workspace, spec).drop_null()
    when = examples["event_timestamp"]
    first, last = (pa.scalar(at, when.type) for at in (ASKED, ASKED + timedelta(days=2)))
    chosen = examples.filter(pc.and_(pc.greater_equal(when, first), pc.less(when, last)))
    times = pa.array([ASKED] * len(chosen), pa.timestamp("us", tz="UTC"))
    chosen = chosen.set_column(chosen.schema.get_field_index("event_timestamp"), "event_timestamp", times)
    question = pa.array([to_us(ASKED)] * len(chosen), pa.int64())
    place = chosen.schema.get_field_index("question_epoch_us")
    chosen = chosen.set_column(place, "question_epoch_us", question)
    return chosen.filter(pa.array(_alive(workspace, chosen)))


def _alive(workspace: Workspace, asked: pa.Table) -> list[bool]:
    address = read_address(workspace.repo)
    assert address is not None
    plan = _champion(workspace).plan
    reader = PackedReader(open_rows(address), plan)
    found = reader.read({name: asked[name].to_pylist() for name in plan.request_keys}, to_us(ASKED))
    return [Status.EXPIRED not in row for row in zip(*found.status.values(), strict=True)]


def _bodies(workspace: Workspace, asked: pa.Table) -> list[Mapping[str, Mapping[str, object]]]:
    declared = read_spec(workspace.model_file(MODEL)).examples
    inputs = [name for name in declared.inputs if name != declared.question_time_input]
    return [
        {"keys": {n: row[n] for n in declared.keys}, "inputs": {n: row[n] for n in inputs}}
        for row in asked.to_pylist()
    ]


def _naive(folder: Path, release: Release) -> Mapping[str, str]:
    columns = [(c.name.partition("__")[2], c.categories) for c in release.manifest.feature_schema.columns]
    return {
        "PEER_REPO": str(_home(folder, "naive, Redis") / "feature_repo"),
        "PEER_SERVICE": MODEL,
        "PEER_MODEL": str(release.path / "model.txt"),
        "PEER_COLUMNS": json.dumps(columns),
    }
