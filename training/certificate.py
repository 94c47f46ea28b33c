"""The certificate: evidence that no value was used before it was known.

Four kinds of it: the times of every joined row, the future rewritten, leaks planted on purpose that
must be caught, and suspicions in plain words.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from knownat.clock import to_us
from knownat.contract.model_spec import ModelSpec
from knownat.contract.read_plan import PlanView, Status
from knownat.errors import RowsNotConserved
from training.canaries import CANARIES
from training.comparison import count_differing
from training.evidence import FORMAT
from training.examples import EVENT_TIMESTAMP, LABEL, LABEL_TIMESTAMP
from training.frame import Joined
from training.future import FutureEvidence
from training.split import Fold, Rows, microseconds
from training.suspicion import Suspicion

_SHOWN = 5


@dataclass(frozen=True)
class ViewEvidence:
    """One view's rows as they were joined, counted; both ``after_question`` counts must be zero."""

    view: str
    rows: int
    present: int
    expired: int
    not_found: int
    event_after_question: int
    created_after_question: int
    values_not_of_a_visible_row: int


@dataclass(frozen=True)
class SideEvidence:
    """One side of the split: when it was asked, and when the last of its answers became known."""

    side: str
    rows: int
    first_question: str
    last_question: str
    last_label_known: str
    labels_known_after_cutoff: int
    labels_known_before_question: int


@dataclass(frozen=True)
class Certificate:
    """What was counted, and every check that failed."""

    cutoff: str
    gap_hours: int
    examples: int
    examples_without_answer: int
    examples_joined: int
    rows_returned: int
    views: tuple[ViewEvidence, ...]
    sides: tuple[SideEvidence, ...]
    future: tuple[FutureEvidence, ...] = ()
    suspicions: tuple[Suspicion, ...] = ()

    def problems(self) -> list[str]:
        """Every proof that a value or a label was used before it was known, or that nothing was proven."""
        return [*_contradictions(self), *_proofs_of_the_future(self.future)]

    def open_suspicions(self) -> list[str]:
        """Every suspicion that nobody has explained."""
        return [suspicion.words for suspicion in self.suspicions if suspicion.accepted is None]

    def suspecting(self, found: Sequence[Suspicion]) -> "Certificate":
        """Return the certificate with more suspicions on it."""
        return replace(self, suspicions=(*self.suspicions, *found))

    def as_json(self) -> dict[str, object]:
        """Lay the evidence out for ``certificate.json``."""
        return {
            "format": FORMAT,
            "created_cutoff": True,
            **asdict(self),
            "problems": self.problems(),
            "open_suspicions": self.open_suspicions(),
        }


def certify(spec: ModelSpec, joined: Joined, fold: Fold, *, all_examples: pa.Table) -> Certificate:
    """Count the evidence of a joined frame and refuse a frame that speaks against itself.

    Raises
    ------
    RowsNotConserved
        If any row has a value or a label that was not known, or was lost.
    """
    if joined.frame.num_rows != joined.rows.num_rows:
        raise RowsNotConserved(
            f"{spec.name}: {joined.rows.num_rows} examples went in, {joined.frame.num_rows} rows came out."
        )
    asked = microseconds(joined.frame[EVENT_TIMESTAMP])
    certificate = Certificate(
        cutoff=spec.time.cutoff.isoformat(),
        gap_hours=spec.time.gap_hours,
        examples=all_examples.num_rows,
        examples_without_answer=all_examples[LABEL].null_count,
        examples_joined=joined.rows.num_rows,
        rows_returned=joined.frame.num_rows,
        views=tuple(_view_evidence(view, joined, asked) for view in joined.plan.views),
        sides=tuple(
            _side_evidence(name, joined.frame, rows, cutoff_us=to_us(spec.time.cutoff))
            for name, rows in asdict(fold).items()
        ),
    )
    if problems := list(_contradictions(certificate)):
        listed = "\n".join(f"- {problem}" for problem in problems)
        raise RowsNotConserved(f"{spec.name}: the training frame contradicts its certificate:\n{listed}")
    return certificate


def _view_evidence(view: PlanView, joined: Joined, asked: Rows) -> ViewEvidence:
    rows = joined.rows
    status = rows[f"{view.name}__status"]
    counted = {value: int(pc.sum(pc.equal(status, value)).as_py() or 0) for value in map(str, Status)}
    present = pc.equal(status, str(Status.PRESENT)).to_numpy()
    shared = [c for f in view.features if (c := view.column(f.name)) in joined.frame.column_names]
    return ViewEvidence(
        view=view.name,
        rows=rows.num_rows,
        present=counted[Status.PRESENT],
        expired=counted[Status.EXPIRED],
        not_found=counted[Status.NOT_FOUND],
        event_after_question=_later(rows[f"{view.name}__event_timestamp"], asked, present),
        created_after_question=_later(rows[f"{view.name}__created_timestamp"], asked, present),
        values_not_of_a_visible_row=sum(count_differing(joined.frame[c], rows[c]) for c in shared),
    )


def _later(times: pa.ChunkedArray, asked: Rows, present: npt.NDArray[np.bool_]) -> int:
    given = pc.is_valid(times).to_numpy()
    known = microseconds(pc.fill_null(times, pa.scalar(0, times.type)))
    # A row that is said to be there but carries no time proves nothing, so it counts against us.
    return int(np.sum(given & (known > asked))) + int(np.sum(present & ~given))


def _side_evidence(side: str, frame: pa.Table, rows: Rows, *, cutoff_us: int) -> SideEvidence:
    asked = frame[EVENT_TIMESTAMP].take(pa.array(rows))
    known = frame[LABEL_TIMESTAMP].take(pa.array(rows))
    return SideEvidence(
        side=side,
        rows=len(rows),
        first_question=pc.min(asked).as_py().isoformat(),
        last_question=pc.max(asked).as_py().isoformat(),
        last_label_known=pc.max(known).as_py().isoformat(),
        labels_known_after_cutoff=int(np.sum(microseconds(known) > cutoff_us)),
        labels_known_before_question=int(np.sum(microseconds(known) < microseconds(asked))),
    )


def _contradictions(certificate: Certificate) -> Iterator[str]:
    for view in certificate.views:
        if view.event_after_question:
            yield f"view '{view.view}': {view.event_after_question} rows happened after their question"
        if view.created_after_question:
            yield f"view '{view.view}': {view.created_after_question} rows were not known at their question"
        if view.values_not_of_a_visible_row:
            count = view.values_not_of_a_visible_row
            yield f"view '{view.view}': {count} values are not those of the newest visible row"
    for side in certificate.sides:
        if side.side != "test" and side.labels_known_after_cutoff:
            yield f"side '{side.side}': {side.labels_known_after_cutoff} labels were not known by the cutoff"
        if side.labels_known_before_question:
            count = side.labels_known_before_question
            yield f"side '{side.side}': {count} labels were known before their question was asked"


def _proofs_of_the_future(future: Sequence[FutureEvidence]) -> Iterator[str]:
    for evidence in future:
        for moved in evidence.moved[:_SHOWN]:
            yield (
                f"{moved.where} knew the future: with what became known after {evidence.instant} rewritten, "
                f"{moved.rows:,} rows moved; {moved.example}"
            )
        if (more := len(evidence.moved) - _SHOWN) > 0:
            yield f"so did {more} more tables and columns, with what came after {evidence.instant} rewritten"
        if evidence.labels_changed:
            yield (
                f"{evidence.labels_changed:,} answers said to be known by {evidence.instant} changed with "
                "what became known later; correct label_timestamp in the examples' SQL"
            )
        if not evidence.questions or not any(event.unknown for event in evidence.events):
            yield f"at {evidence.instant} there was nothing to rewrite or nobody asked, so nothing is proven"
    for canary in CANARIES if future else ():
        if not any(evidence.canaries[canary.name] for evidence in future):
            yield f"a planted leak was missed, so this certificate proves nothing: {canary.meaning}"
