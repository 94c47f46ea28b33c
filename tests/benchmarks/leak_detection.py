"""How weak a leak may be and still be caught: ``python -m tests.benchmarks.leak_detection``.

In generated histories each of four columns leaks a share of the answers, and says nothing of the
others. The share is swept down to nothing. Writes ``docs/leak-detection.json`` and ``.svg``.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.progress import track
from rich.table import Table

from knownat.contract.model_spec import ModelSpec, read_spec
from knownat.contract.workspace import Workspace
from knownat.scoring.metrics import auc
from knownat.stores.pipelines import build_features
from tests.training.histories import LEAKS, join_with_evidence, write_history
from training.dataset import lay_out
from training.drawing import Line, draw_lines
from training.examples import read_examples
from training.future import FutureEvidence, choose_instants, probe_future
from training.split import keep_answered, split_by_time
from training.suspicion import suspect

DOCS = Path(__file__).parents[2] / "docs"
STRENGTHS = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0)


@dataclass(frozen=True)
class Caught:
    """Of histories with a leak of one strength: shares that were caught, and how well the column ranks."""

    leak: str
    strength: float
    histories: int
    future_test: float
    suspicion: float
    auc: float


@dataclass(frozen=True)
class _One:
    future: bool
    suspected: bool
    auc: float


def main() -> None:
    """Sweep, print, and write the list and the drawing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=20)
    wanted = parser.parse_args().histories
    console = Console(stderr=True)
    found: list[Caught] = []
    for strength in STRENGTHS:
        found += _sweep(strength, wanted, console)
        # After each, so that a sweep that is stopped has not been for nothing.
        (DOCS / "leak-detection.json").write_text(json.dumps([asdict(f) for f in found], indent=1) + "\n")
        (DOCS / "leak-detection.svg").write_text(_draw(found))
    shown = Table("leak", "answers that leak", "AUC alone", "future test", "suspicions")
    for each in sorted(found, key=lambda each: each.leak):
        shares = (each.future_test, each.suspicion)
        shown.add_row(
            each.leak, f"{each.strength:.1%}", f"{each.auc:.3f}", *(f"{share:.0%}" for share in shares)
        )
    Console().print(shown)


def _sweep(strength: float, histories: int, console: Console) -> list[Caught]:
    label = f"{strength:.1%} of the answers leak"
    results = [_try(s, strength) for s in track(range(histories), label, console=console, transient=True)]
    fields = ("future", "suspected", "auc")
    return [
        Caught(
            leak,
            strength,
            histories,
            *(sum(getattr(result[leak], field) for result in results) / histories for field in fields),
        )
        for leak in LEAKS
    ]


def _try(seed: int, strength: float) -> dict[str, _One]:
    with tempfile.TemporaryDirectory() as folder:
        workspace = write_history(Path(folder), seed=5_000 + seed, strength=strength)
        build_features(workspace.repo)
        spec = read_spec(workspace.model_file("outcome"))
        asked = read_examples(workspace, spec)
        future = probe_future(
            workspace,
            spec,
            asked,
            instants=choose_instants(asked, spec),
            join=lambda world, questions: join_with_evidence(world, questions, LEAKS).frame,
            report=lambda _: None,
        )
        return {leak: _judge(workspace, spec, asked, future, leak) for leak in LEAKS}


def _judge(
    workspace: Workspace, spec: ModelSpec, asked: pa.Table, future: Sequence[FutureEvidence], leak: str
) -> _One:
    moved = any(leak in each.where for evidence in future for each in evidence.moved)
    examples = keep_answered(asked, spec.time)
    joined = join_with_evidence(workspace, examples, ["honest", leak])
    fold, labels = split_by_time(examples, spec), examples["label"].to_numpy()
    data = lay_out(joined.frame, joined.plan.output_columns, labels=labels, fold=fold)
    column = data.matrix[:, data.schema.names.index(f"{leak}__leak")]
    alone = auc(labels, np.nan_to_num(column, nan=0.0))
    return _One(moved, bool(suspect(spec, joined, data, asked)), alone)


def _draw(found: list[Caught]) -> str:
    leaking = [each for each in found if each.strength]
    caught = {
        leak: [(each.strength, each.future_test) for each in leaking if each.leak == leak] for leak in LEAKS
    }
    lines = [Line(leak.replace("_", " "), points) for leak, points in caught.items()]
    suspected = [(each.strength, each.suspicion) for each in leaking if each.leak == LEAKS[0]]
    return draw_lines(
        [*lines, Line("future label, by suspicion", suspected, dashed=True)],
        label="Share of histories in which a leak was caught, against the share of answers that leak",
        x_title="share of the answers that leak (logarithmic)",
        y_title="share of histories caught",
        log_x=True,
        y_range=(0.0, 1.0),
    )


if __name__ == "__main__":
    main()
