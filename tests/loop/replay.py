"""A stretch of production replayed as it happened, on a simulated clock.

Events run in order of the time they became known: a label is posted when it is known, the online
rows advance in steps, and each question is asked at its own time, after the facts known by then.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum

import pyarrow as pa

from knownat.clock import FileClock, from_us, to_us
from knownat.contract.model_spec import ModelSpec
from tests.loop.scorer_process import ScorerClient

_LABELS_A_POST = 1_000


class Kind(IntEnum):
    """What happens at an instant; facts come before the questions of the same instant."""

    STEP = 0
    LABEL = 1
    QUESTION = 2


@dataclass(frozen=True, order=True)
class Event:
    """One thing that happens: when, what, and to which example of which model."""

    at_us: int
    kind: Kind
    model: str = ""
    row: int = -1


@dataclass
class Replayed:
    """What a replay did: how often, how fast, and at which steps the online rows advanced."""

    requests: int = 0
    labels: int = 0
    steps: list[datetime] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    """Seconds from sending a question to its answer, as the client saw them."""


@dataclass(frozen=True)
class Stream:
    """One model's examples, as the questions and labels of a replay."""

    spec: ModelSpec
    examples: pa.Table

    def events(self) -> Iterator[Event]:
        """Every question at its time, and every label when it became known."""
        for row, when in enumerate(self.examples["event_timestamp"].to_pylist()):
            yield Event(to_us(when), Kind.QUESTION, self.spec.name, row)
        for row, (label, when) in enumerate(
            zip(self.examples["label"].to_pylist(), self.examples["label_timestamp"].to_pylist(), strict=True)
        ):
            if label is not None and when is not None:
                yield Event(to_us(when), Kind.LABEL, self.spec.name, row)


def steps_between(first: int, last: int, every: timedelta) -> Iterator[Event]:
    """Cut time into steps; the first is at the first question, so none is asked of an empty store."""
    stride = every // timedelta(microseconds=1)
    yield from (Event(at, Kind.STEP) for at in range(first, last + 1, stride))


class Replay:
    """Drives one scorer through the events of several models."""

    def __init__(
        self,
        streams: Sequence[Stream],
        *,
        client: ScorerClient,
        clock: FileClock,
        advance: Callable[[datetime], None],
    ) -> None:
        self._streams = {stream.spec.name: stream for stream in streams}
        self._rows = {name: stream.examples.to_pylist() for name, stream in self._streams.items()}
        self._client = client
        self._clock = clock
        self._advance = advance
        self._ids: dict[tuple[str, int], str] = {}
        self._open_labels: list[dict[str, object]] = []
        self.done = Replayed()

    def run(self, every: timedelta, progress: Callable[[float], None]) -> Replayed:
        """Replay everything, calling ``progress`` with the share of events done.

        Raises
        ------
        ScorerError
            If the scorer answers anything else than success.
        """
        asked = sorted(event for stream in self._streams.values() for event in stream.events())
        questions = [event.at_us for event in asked if event.kind is Kind.QUESTION]
        events = sorted([*asked, *steps_between(questions[0], questions[-1], every)])
        for number, event in enumerate(events):
            self._clock.move_to(event.at_us)
            self._happen(event)
            progress((number + 1) / len(events))
        self._post_labels()
        return self.done

    def _happen(self, event: Event) -> None:
        match event.kind:
            case Kind.STEP:
                self._post_labels()
                self._advance(from_us(event.at_us))
                self.done.steps.append(from_us(event.at_us))
            case Kind.LABEL:
                self._note_label(event)
            case Kind.QUESTION:
                self._ask(event)

    def _ask(self, event: Event) -> None:
        examples = self._streams[event.model].spec.examples
        row = self._rows[event.model][event.row]
        inputs = {name: row[name] for name in examples.inputs if name != examples.question_time_input}
        body = {"rows": [{"keys": {name: row[name] for name in examples.keys}, "inputs": inputs}]}
        start = time.perf_counter()
        answer = self._client.post(f"/v1/models/{event.model}/predict", body)
        self.done.latencies.append(time.perf_counter() - start)
        self.done.requests += 1
        predictions = answer["predictions"]
        assert isinstance(predictions, list)
        self._ids[event.model, event.row] = predictions[0]["prediction_id"]

    def _note_label(self, event: Event) -> None:
        row = self._rows[event.model][event.row]
        self._open_labels.append(
            {
                "prediction_id": self._ids[event.model, event.row],
                "label": float(row["label"]),
                "label_timestamp": row["label_timestamp"].isoformat(),
            }
        )
        if len(self._open_labels) >= _LABELS_A_POST:
            self._post_labels()

    def _post_labels(self) -> None:
        if not self._open_labels:
            return
        answer = self._client.post("/v1/labels", {"labels": self._open_labels})
        assert answer == {"accepted": len(self._open_labels), "unknown": []}, answer
        self.done.labels += len(self._open_labels)
        self._open_labels = []
