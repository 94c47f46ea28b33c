"""Law 6 from the outside: what clients were answered, what the log holds, and what the scorer counted."""

import json
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import httpx

from knownat.contract.log_reader import read_predictions
from tests.load.clients import Outcome
from tests.serving.made_workspace import MODEL

ALWAYS = {"start": datetime(2000, 1, 1, tzinfo=UTC), "end": datetime(2100, 1, 1, tzinfo=UTC)}


def answered_ids(outcomes: Iterable[Outcome]) -> list[str]:
    """The id of every row that a client was given; the outcomes kept their bodies."""
    answers = (json.loads(body) for outcome in outcomes for body in outcome.bodies)
    return [row["prediction_id"] for answer in answers for row in answer.get("predictions", ())]


def logged_ids(predictions: Path) -> list[str]:
    """The id of every row in the log, in whatever order."""
    ids: list[str] = read_predictions(predictions, MODEL, **ALWAYS)["prediction_id"].to_pylist()
    return ids


def log_counts(admin: Iterable[str]) -> Counter[str]:
    """Rows that the workers say they accepted, wrote and dropped, all logs and workers together."""
    counts: Counter[str] = Counter()
    for url in admin:
        for line in httpx.get(f"{url}/metrics").text.splitlines():
            for what in ("accepted", "written", "dropped"):
                if line.startswith(f"knownat_log_{what}_total{{"):
                    counts[what] += int(float(line.rsplit(" ", 1)[1]))
    return counts


def check_every_answer_is_accounted_for(
    outcomes: Iterable[Outcome], predictions: Path, counts: Counter[str]
) -> int:
    """Every row of a 200 is in the log once or counted as dropped; return how many there were."""
    ids = answered_ids(outcomes)
    logged = logged_ids(predictions)
    assert len(set(ids)) == len(ids)
    assert len(set(logged)) == len(logged)
    assert counts["accepted"] == counts["written"] + counts["dropped"]
    assert len(logged) == counts["written"]
    assert len(ids) == counts["accepted"]
    assert len(set(ids) - set(logged)) == counts["dropped"]
    return len(ids)
