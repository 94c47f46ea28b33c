"""A release that is ready to answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from knownat.clock import to_us
from knownat.contract.model_spec import ModelSpec
from knownat.contract.pseudonyms import Pseudonyms
from knownat.contract.read_plan import ReadPlan, Status
from knownat.contract.release import Deployed
from knownat.scoring.row_program import ScoredRow
from serving.decoding import Decoder
from serving.log_rows import LogRows
from serving.prediction_log import RowLog
from serving.reading import Features
from serving.stored_features import StoredFeatures, stored_features
from serving.tallies import Tally

Columns = Mapping[str, Sequence[object]]


class Scoring(Protocol):
    """What turns stored values and inputs into scores; :class:`knownat.scoring.scorer.Scorer` is one."""

    def columns(self, stored: Columns, inputs: Columns) -> dict[str, Sequence[object]]:
        """Add the on-demand outputs to stored values and request inputs."""
        ...

    def score(self, columns: Columns | pa.Table) -> npt.NDArray[np.float64]:
        """Score n rows of model columns."""
        ...

    def score_one(self, stored: Sequence[object], inputs: Sequence[object]) -> ScoredRow:
        """Score one row, its values and inputs in the plan's order."""
        ...


@dataclass(frozen=True)
class ServedModel:
    """A release that answers: its plan, its score, its features, its log and its books."""

    name: str
    version: str
    digest: str
    plan: ReadPlan
    scorer: Scoring
    features: StoredFeatures
    log: RowLog
    decoder: Decoder
    log_rows: LogRows
    tally: Tally
    shadow_tally: Tally
    """Of its answers as a shadow, which another thread counts."""
    deadline_seconds: float
    sunset_us: int | None
    sunset_headers: tuple[tuple[bytes, bytes], ...]
    """What each answer says of the day from which there will be none."""
    all_present: list[Status]
    """The statuses of a row of which every view has a current value."""
    time_at: int | None
    """Where among its inputs the question's time stands."""

    @classmethod
    def of(
        cls,
        deployed: Deployed,
        *,
        spec: ModelSpec,
        plan: ReadPlan,
        scorer: Scoring,
        features: Features,
        log: RowLog,
        new_id: Callable[[], str],
        pseudonyms: Pseudonyms | None = None,
    ) -> Self:
        """Make a release ready to answer."""
        name, sunset = spec.name, spec.sunset
        inputs = [i.name for i in plan.request_inputs]
        return cls(
            name=name,
            version=deployed.version,
            digest=deployed.digest,
            plan=plan,
            scorer=scorer,
            features=stored_features(name, plan, features, spec.serving.when_store_fails),
            log=log,
            decoder=Decoder(plan, new_id=new_id),
            log_rows=LogRows(
                name,
                deployed.version,
                plan,
                pseudonyms=pseudonyms,
                pseudonymous=spec.serving.pseudonymous_keys,
            ),
            tally=Tally(plan),
            shadow_tally=Tally(plan),
            deadline_seconds=spec.serving.deadline_ms / 1_000,
            sunset_us=None if sunset is None else to_us(sunset),
            sunset_headers=() if sunset is None else _sunset_headers(name, sunset),
            all_present=[Status.PRESENT] * len(plan.views),
            time_at=inputs.index(plan.question_time_input) if plan.question_time_input is not None else None,
        )

    def inputs_at(self, sent: list[object], now_us: int) -> list[object]:
        """Return one row's inputs in the plan's order, the question's time among them."""
        if self.time_at is None:
            return sent
        return [*sent[: self.time_at], now_us, *sent[self.time_at :]]

    def columns_at(self, sent: Columns, rows: int, now_us: int) -> dict[str, Sequence[object]]:
        """Return n rows' inputs by name in the plan's order, the question's time among them."""
        now = [now_us] * rows
        names = [i.name for i in self.plan.request_inputs]
        return {name: now if name == self.plan.question_time_input else sent[name] for name in names}


def _sunset_headers(model: str, sunset: datetime) -> tuple[tuple[bytes, bytes], ...]:
    """RFC 8594: when an answer's resource will be gone, and where to look for the next."""
    link = f'</v1/models/{model}/predict>; rel="successor-version"'
    return (
        (b"sunset", format_datetime(sunset.astimezone(UTC), usegmt=True).encode()),
        (b"link", link.encode()),
    )
