"""The flights' world for servers that are measured: their views, on-demand transforms and trained release.

The demo's release and tables serve (``make demo`` makes them). Two things are changed: everything is
asked at the end of the year after, when every row is known, and the read plan's times to live are
lengthened so that none has expired: Feast's own stores would serve it all the same.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from knownat.contract.model_spec import read_spec
from knownat.contract.read_plan import ReadPlan
from knownat.contract.release import (
    Deployed,
    Deployment,
    ModelDeployment,
    Release,
    publish_release,
    read_release,
    stage_release,
    write_deployment,
)
from knownat.contract.workspace import Workspace
from knownat.scoring.scorer import Scorer
from knownat.stores.online_address import open_rows, read_address
from knownat.stores.packed_read import PackedReader
from serving.keys import Scope, add_key
from tests.benchmarks.online_repos import ALIVE_US, FLIGHTS, SERVICES, lay_out
from tests.benchmarks.shop_world import knownat_command, naive_command
from tests.stores.packed.redis_server import RedisServer
from training.examples import read_examples

MODEL = "late_arrival"
ROOT = Path(__file__).parents[2]
DEMO = ROOT / "build" / "demo"
NOW_US = SERVICES[FLIGHTS].now_us
_QUESTIONS = 1_000
OURS = ("ours, LMDB", "ours, Redis")


@dataclass(frozen=True)
class FlightsWorld:
    """Where everything lies, what is asked, and what each question's score is."""

    folder: Path
    questions: list[Mapping[str, object]]
    """Keys and inputs of each, by name."""
    plan: ReadPlan
    scores: list[float]
    now_us: int = NOW_US

    def home(self, who: str) -> Path:
        """Return the folder that a server runs in."""
        return ROOT if who.startswith("ours") else self._repo(who)

    def key(self, who: str) -> str | None:
        """Return the key that a server asks for."""
        return (self.folder / "key").read_text() if who.startswith("ours") else None

    def command(self, who: str, port: int, workers: int) -> tuple[list[str], Mapping[str, str]]:
        """Return the command that starts a server, and what its environment needs."""
        here = ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
        repo = self._repo(who)
        if who.startswith("ours"):
            return knownat_command(repo, self.folder, here), {}
        app = "tests.benchmarks.peers.naive:create_flights_app"
        return naive_command(app, here), {
            "PEER_REPO": str(repo), "PEER_SERVICE": MODEL, "PEER_MODEL": str(self.folder / "model.txt"),
            "PEER_COLUMNS": str(self.folder / "columns.json"),
        }  # fmt: skip

    def request(self, who: str, places: list[int]) -> tuple[str, bytes]:
        """Return path and body of the request for these questions."""
        asked = [self.questions[place] for place in places]
        if not who.startswith("ours"):
            return "/predict", json.dumps({"rows": asked}).encode()
        client = self.plan.client_inputs
        rows = [
            {
                "keys": {name: row[name] for name in self.plan.request_keys},
                "inputs": {name: row[name] for name in client},
            }
            for row in asked
        ]
        body = rows[0] if len(rows) == 1 else {"rows": rows}
        return f"/v1/models/{MODEL}/predict", json.dumps(body).encode()

    def scores_in(self, who: str, answer: bytes) -> list[float] | None:
        """Return the scores of an answer."""
        found = json.loads(answer)
        if not who.startswith("ours"):
            return list(found["scores"])
        assert not any(row["degraded"] for row in found["predictions"]), found
        return [row["score"] for row in found["predictions"]]

    def _repo(self, who: str) -> Path:
        return self.folder / (who.replace("naive", "Feast").replace(" ", "_"))


def make_flights(folder: Path, redis: RedisServer) -> FlightsWorld:
    """Lay out the repos, each filled by its own engine, and the release in each of ours."""
    releases = DEMO / "releases" / MODEL
    if not releases.is_dir():
        sys.exit(f"There is no release in {releases}. Run make demo.")
    trained = read_release(max(releases.iterdir(), key=lambda path: int(path.name)))
    lay_out(FLIGHTS, folder, redis, (*OURS, "Feast, Redis"))
    # The repos lie side by side, so they share one home with one release, its log and its keys.
    workspace = Workspace.at(folder / OURS[0].replace(" ", "_"))
    release = _deploy(workspace, trained)
    _, key = add_key(
        workspace.home / "keys.json", "bench", frozenset({Scope.PREDICT}), now_us=NOW_US, days=None
    )
    (folder / "key").write_text(key)
    columns = [(column.name, column.categories or ()) for column in release.manifest.feature_schema.columns]
    (folder / "columns.json").write_text(json.dumps(columns))
    shutil.copy(release.path / "model.txt", folder / "model.txt")
    questions = _questions(workspace, release.plan)
    return FlightsWorld(folder, questions, release.plan, _scores(workspace, release, questions))


def _deploy(workspace: Workspace, trained: Release) -> Release:
    """Publish the release once more with longer times to live, and let it serve."""
    folder = workspace.releases / MODEL / trained.manifest.version
    views = tuple(view.model_copy(update={"ttl_us": ALIVE_US}) for view in trained.plan.views)
    plan = trained.plan.model_copy(update={"views": views})
    with stage_release(folder) as staged:
        shutil.copytree(trained.path, staged, dirs_exist_ok=True)
        (staged / "manifest.json").unlink()
        (staged / "read_plan.json").write_text(plan.model_dump_json())
        manifest = {name: value for name, value in trained.manifest if name != "files"}
        release = publish_release(staged, folder, manifest)
    champion = Deployed(version=release.manifest.version, digest=release.digest)
    write_deployment(workspace.deployment, Deployment(models={MODEL: ModelDeployment(champion=champion)}))
    return release


def _questions(workspace: Workspace, plan: ReadPlan) -> list[Mapping[str, object]]:
    """Ask about flights whose aircraft is known: a null key is an error to Feast and no answer."""
    examples = read_examples(workspace, read_spec(workspace.model_file(MODEL)))
    names = [*plan.request_keys, *(i.name for i in plan.request_inputs)]
    asked = examples.sort_by("event_timestamp").select(names).drop_null()
    last = asked.slice(asked.num_rows - _QUESTIONS).to_pylist()
    return [{**row, plan.question_time_input or "": NOW_US} for row in last]


def _scores(workspace: Workspace, release: Release, questions: Sequence[Mapping[str, object]]) -> list[float]:
    """Score all questions together, by the batch's way."""
    address = read_address(workspace.repo)
    assert address is not None
    plan, scorer = release.plan, Scorer.load(release)
    columns = {name: [row[name] for row in questions] for name in questions[0]}
    read = PackedReader(open_rows(address), plan).read(
        {name: columns[name] for name in plan.request_keys}, NOW_US
    )
    inputs = {i.name: columns[i.name] for i in plan.request_inputs}
    return list(scorer.score(scorer.columns(read.values, inputs)).tolist())
