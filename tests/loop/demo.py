"""The whole way on real flights, from raw files to a drift report: ``make demo``.

Everything is written below ``build/demo``; feature tables and releases are kept for the next run as
long as nothing that made them changed, online rows and predictions are made anew.
"""

import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.progress import Progress

from knownat.clock import FileClock, to_us
from knownat.contract.log_reader import read_labels, read_predictions
from knownat.contract.model_spec import read_spec
from knownat.contract.release import Release, read_deployment, read_release
from knownat.contract.workspace import Workspace
from knownat.scoring.metrics import auc
from knownat.scoring.scorer import Scorer
from knownat.stores.history import historical_frame
from knownat.stores.materialization import materialize
from knownat.stores.repo import Repo, open_repo
from monitoring.skew import SkewResult, replay
from tests.loop.demo_table import print_table
from tests.loop.replay import Replay, Replayed, Stream
from tests.loop.scorer_process import running_scorer
from training.examples import read_examples

ROOT = Path(__file__).resolve().parents[2]
MODELS = ("late_arrival", "minutes_late")
DAY_START = datetime(2013, 10, 15, 4, tzinfo=UTC)  # midnight in New York
DAY = timedelta(days=1)
STEP = timedelta(minutes=15)
LEAD = timedelta(hours=2)  # questions are asked this long before departure
LABELS_MATURED = timedelta(days=3)

# Wide enough for its tables also where there is no terminal to ask.
console = Console(width=None if sys.stdout.isatty() else 120)


def main() -> int:
    """Run the demo and return its exit code: 1 if a served value or score was not the offline one."""
    start = time.monotonic()
    folder = ROOT / "build" / "demo"
    workspace = _lay_out(folder)
    _prepare(workspace, folder)
    with _phase("serve every flight of 15 October 2013 at its own time, online rows advancing"):
        streams, replayed = _serve_the_day(workspace, folder)
    with _phase("recompute every served value offline, and compare"):
        opened = open_repo(workspace.repo)
        skews = {model: _compare(workspace, model, replayed) for model in MODELS}
        day = _judge_day(workspace, opened, streams[0])
    with _phase("write the reports an analyst opens"):
        _monitor(workspace)
    report = _report(workspace, replayed, skews, day, seconds=time.monotonic() - start)
    target = ROOT / "reports" / "demo.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(report, indent=2) + "\n")
    print_table(console, report)
    same = report["mismatches"] == 0 and float(str(report["max_score_difference"])) <= 1e-12
    return 0 if same else 1


def _lay_out(folder: Path) -> Workspace:
    """Copy the definitions beside the demo's own data, so that a demo touches nothing of the user's."""
    repo = folder / "feature_repo"
    repo.mkdir(parents=True, exist_ok=True)
    for old in repo.iterdir():
        if old.name != "data":
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    ignored = shutil.ignore_patterns("data", "__pycache__")
    shutil.copytree(ROOT / "feature_repo", repo, ignore=ignored, dirs_exist_ok=True)
    workspace = Workspace.at(repo)
    for made_anew in ("registry.db", "registry.applied.json"):
        (workspace.data / made_anew).unlink(missing_ok=True)
    shutil.rmtree(workspace.data / "online_rows", ignore_errors=True)
    shutil.rmtree(workspace.predictions, ignore_errors=True)
    return workspace


def _prepare(workspace: Workspace, folder: Path) -> None:
    with _phase("build feature tables from the raw files"):
        _knownat("features", "build", "--repo", str(workspace.repo))
    with _phase("apply the definitions"):
        _knownat("apply", "--repo", str(workspace.repo), "--json", quiet=True)
    stamp, made_by = folder / "trained.sha256", _fingerprint(workspace)
    if stamp.is_file() and stamp.read_text() == made_by and _releases(workspace):
        console.print("[dim]nothing that makes a model changed: the releases of the last run serve[/dim]")
        return
    with _phase("train both models on what was known by 2013-10-01"):
        _knownat("train", *MODELS, "--repo", str(workspace.repo))
    stamp.write_text(made_by)


def _fingerprint(workspace: Workspace) -> str:
    """Hash everything a model is made from: definitions, tables, training code, packages."""
    digest = hashlib.sha256()
    folders = (workspace.repo, ROOT / "knownat", ROOT / "training")
    for path in sorted(p for folder in folders for p in folder.rglob("*") if p.is_file()):
        if path.suffix not in {".pyc", ".db", ".json"}:
            digest.update(str(path.relative_to(ROOT)).encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    digest.update((ROOT / "requirements.lock").read_bytes())
    return digest.hexdigest()


def _serve_the_day(workspace: Workspace, folder: Path) -> tuple[list[Stream], Replayed]:
    streams = [_stream(workspace, model) for model in MODELS]
    opened = open_repo(workspace.repo)
    clock_file = folder / "clock"
    clock = FileClock(clock_file)
    clock.move_to(to_us(DAY_START - LEAD))
    # The night before fills the store once; from then on it advances with the clock.
    materialize(opened, until=DAY_START - LEAD, clock=clock)

    def advance(until: datetime) -> None:
        materialize(opened, until=until, clock=clock)

    with running_scorer(workspace.repo, clock=clock_file, folder=folder) as client, Progress() as bar:
        task = bar.add_task("2013-10-15", total=1.0)
        driver = Replay(streams, client=client, clock=clock, advance=advance)
        return streams, driver.run(STEP, lambda share: bar.update(task, completed=share))


def _stream(workspace: Workspace, model: str) -> Stream:
    spec = read_spec(workspace.model_file(model))
    examples = read_examples(workspace, spec)
    when = examples["event_timestamp"]
    first, last = (pa.scalar(DAY_START - LEAD + offset, when.type) for offset in (timedelta(0), DAY))
    inside = pc.and_(pc.greater_equal(when, first), pc.less(when, last))
    return Stream(spec, examples.filter(inside))


def _compare(workspace: Workspace, model: str, replayed: Replayed) -> SkewResult:
    served = read_predictions(
        workspace.predictions, model, start=DAY_START - LEAD, end=DAY_START + DAY - LEAD
    )
    return replay(workspace, model, served, replayed.steps)


@dataclass(frozen=True)
class Day:
    """How good the served scores were, beside what the offline frame of the same questions gives."""

    served_auc: float
    offline_auc: float
    flights: int


def _judge_day(workspace: Workspace, opened: Repo, stream: Stream) -> Day:
    known = stream.examples.filter(pc.is_valid(stream.examples["label"]))
    release = _releases(workspace)[stream.spec.name]
    frame = historical_frame(opened, known, stream.spec.feature_service)
    offline = auc(known["label"].to_numpy(), Scorer.load(release).score(frame))
    served = read_predictions(
        workspace.predictions, stream.spec.name, start=DAY_START - LEAD, end=DAY_START + DAY - LEAD
    )
    labels = read_labels(workspace.predictions, stream.spec.name).select(["prediction_id", "label"])
    joined = served.select(["prediction_id", "score"]).join(labels, "prediction_id", join_type="inner")
    return Day(auc(joined["label"].to_numpy(), joined["score"].to_numpy()), offline, joined.num_rows)


def _monitor(workspace: Workspace) -> None:
    """Judge the day for both models at once, one process each: Evidently alone takes seconds to import."""
    start, end = DAY_START - LEAD, DAY_START + DAY - LEAD
    clock = workspace.home / "clock"
    FileClock(clock).move_to(to_us(end + LABELS_MATURED))
    window = ["--start", start.isoformat(), "--end", end.isoformat(), "--clock", f"file:{clock}"]
    # Every served value was compared already, exactly; the job `skew` would compare a sample again.
    jobs = [word for job in ("judge", "charts", "pages") for word in ("--job", job)]
    where = ["--repo", str(workspace.repo), *window]
    commands = [_command("monitor", m, *where, *jobs, "--json") for m in MODELS]
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    for command, process in zip(commands, running, strict=True):
        # 1 is an alarm: a report like any other.
        if (code := process.wait()) not in (0, 1):
            raise SystemExit(f"`{' '.join(command)}` ended with {code}")


def _releases(workspace: Workspace) -> dict[str, Release]:
    models = read_deployment(workspace.deployment).models
    return {
        name: read_release(workspace.releases / name / m.champion.version, digest=m.champion.digest)
        for name, m in models.items()
    }


def _report(
    workspace: Workspace, replayed: Replayed, skews: dict[str, SkewResult], day: Day, *, seconds: float
) -> dict[str, object]:
    releases = _releases(workspace)
    late, minutes = (releases[model].manifest for model in MODELS)
    latencies = sorted(1_000 * latency for latency in replayed.latencies)
    return {
        "auc": late.metrics["auc"].value,
        "log_loss": late.metrics["log_loss"].value,
        "ece": late.metrics["ece"].value,
        "auc_logistic": late.baselines["logistic"]["auc"],
        "auc_static": late.baselines["static"]["auc"],
        "mae_minutes": minutes.metrics["mae"].value,
        "mae_minutes_median": minutes.baselines["median"]["mae"],
        "served_auc": day.served_auc,
        "offline_auc": day.offline_auc,
        "labelled_flights": day.flights,
        "requests": replayed.requests,
        "labels": replayed.labels,
        "steps": len(replayed.steps),
        "latency_ms_p50": statistics.median(latencies),
        "latency_ms_p99": latencies[int(0.99 * (len(latencies) - 1))],
        "values_compared": sum(skew.values_compared for skew in skews.values()),
        "mismatches": sum(skew.mismatches for skew in skews.values()),
        "max_score_difference": max(skew.max_score_difference for skew in skews.values()),
        "seconds": round(seconds, 1),
        "report": str((workspace.reports / "index.html").relative_to(ROOT)),
    }


def _command(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("knownat")), *arguments]


def _knownat(*arguments: str, quiet: bool = False) -> None:
    done = subprocess.run(_command(*arguments), check=False, stdout=subprocess.DEVNULL if quiet else None)
    if done.returncode:
        raise SystemExit(f"`knownat {' '.join(arguments)}` ended with {done.returncode}")


@contextmanager
def _phase(title: str) -> Iterator[None]:
    console.rule(f"[bold]{title}", align="left")
    start = time.monotonic()
    yield
    console.print(f"[dim]{time.monotonic() - start:.1f} s[/dim]")


if __name__ == "__main__":
    sys.exit(main())
