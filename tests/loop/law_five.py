"""Law 5 on real flights: one by one over HTTP, 200 at once, and from a file, the same scores.

``python -m tests.loop.law_five FOLDER [FLIGHTS]`` takes a flights workspace whose ``late_arrival`` serves and
whose online rows are written up to a moment. It asks everything at that moment, prints one line of JSON,
and ends with 1 if a score differs by more than 1e-12 or an answer is not in the log.
"""

import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from knownat.clock import FileClock, to_us
from knownat.contract.log_reader import read_predictions
from knownat.contract.model_spec import read_spec
from knownat.contract.workspace import Workspace
from serving.batch import score_file
from serving.features import open_history
from tests.loop.scorer_process import ScorerClient, ScorerError, running_scorer
from training.examples import read_examples

MODEL = "late_arrival"
ASKED = datetime(2013, 10, 15, 12, tzinfo=UTC)
AT_ONCE = 200
TOLERANCE = 1e-12


def main() -> int:
    """Ask in three ways and compare."""
    folder, flights = Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    workspace = Workspace.at(folder / "feature_repo")
    spec = read_spec(workspace.model_file(MODEL))
    chosen = _flights(read_examples(workspace, spec), flights)
    inputs = [name for name in spec.examples.inputs if name != spec.examples.question_time_input]
    rows = [
        {"keys": {n: row[n] for n in spec.examples.keys}, "inputs": {n: row[n] for n in inputs}}
        for row in chosen.to_pylist()
    ]
    FileClock(folder / "clock").move_to(to_us(ASKED))
    with running_scorer(workspace.repo, clock=folder / "clock", folder=folder) as client:
        alone = [_ask(client, [row])[0] for row in rows]
        starts = range(0, len(rows), AT_ONCE)
        together = [one for start in starts for one in _ask(client, rows[start : start + AT_ONCE])]
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "in.parquet", Path(scratch) / "out.parquet"
        pq.write_table(chosen.select([*spec.examples.keys, *inputs, "event_timestamp"]), source)
        score_file(workspace, MODEL, source, target, version=None, history=open_history(workspace.repo))
        offline = pq.read_table(target)
    scores = [np.array([score for _, score in answers]) for answers in (alone, together)]
    scores.append(offline["score"].to_numpy())
    log = read_predictions(workspace.predictions, MODEL, start=ASKED, end=datetime(2014, 1, 1, tzinfo=UTC))
    logged = dict(zip(log["prediction_id"].to_pylist(), log["score"].to_pylist(), strict=True))
    answered = dict([*alone, *together])
    told = {
        "flights": len(rows),
        "different_scores": len(set(scores[0].tolist())),
        "largest_difference_together": float(np.max(np.abs(scores[0] - scores[1]))),
        "largest_difference_offline": float(np.max(np.abs(scores[0] - scores[2]))),
        "answered": len(answered),
        "answered_and_not_logged_as_answered": sum(logged.get(i) != score for i, score in answered.items()),
    }
    sys.stdout.write(json.dumps(told) + "\n")
    worst = max(told["largest_difference_together"], told["largest_difference_offline"])
    return int(worst > TOLERANCE or told["answered_and_not_logged_as_answered"] > 0)


def _flights(examples: pa.Table, count: int) -> pa.Table:
    """Take flights evenly over the year, all of them asked at one moment."""
    step = max(1, len(examples) // count)
    chosen = examples.take(list(range(0, len(examples), step))[:count])
    place = chosen.schema.get_field_index("event_timestamp")
    times = pa.array([ASKED] * len(chosen), pa.timestamp("us", tz="UTC"))
    return chosen.set_column(place, "event_timestamp", times)


def _ask(client: ScorerClient, rows: list[dict[str, object]]) -> list[tuple[str, float]]:
    while True:
        try:
            answer = client.post(f"/v1/models/{MODEL}/predict", {"rows": rows})
            break
        except ScorerError as error:
            # On a busy machine an answer may be late; then nothing of it was logged as answered.
            if "deadline_exceeded" not in str(error):
                raise
    predictions = answer["predictions"]
    assert isinstance(predictions, list)
    return [(str(one["prediction_id"]), float(one["score"])) for one in predictions]


if __name__ == "__main__":
    sys.exit(main())
