"""The future test: rewrite what was not known at an instant, and see whether anything before it moves.

Timestamps can lie; a rebuilt history cannot. Raw events that became known after an instant are
rewritten at random, the pipelines are run again and the frame is joined again. Whatever was visible
by the instant must be the same to the last bit.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from knownat.clock import from_us, to_us
from knownat.contract.model_spec import ModelSpec
from knownat.contract.workspace import Workspace
from knownat.stores.pipeline_spec import Feature, read_pipelines
from training.canaries import CANARIES, plant_canaries
from training.comparison import count_differing
from training.examples import EVENT_TIMESTAMP, LABEL, LABEL_TIMESTAMP
from training.moved import Moved, moved_cells, moved_rows
from training.rewriting import Rewritten
from training.shadow import shadow_of
from training.split import microseconds
from training.worlds import Matched, Rewriting, match_questions

MOST_QUESTIONS = 10_000
_CANDIDATES = 64

Join = Callable[[Workspace, pa.Table], pa.Table]
"""Joins questions with a workspace's features: the questions' columns, then the features, in order."""
Report = Callable[[str], None]


@dataclass(frozen=True)
class FutureEvidence:
    """What one rewritten future moved: of every table, of every column, and of the planted leaks."""

    instant: str
    events: tuple[Rewritten, ...]
    tables: int
    rows_visible: int
    questions: int
    columns: int
    questions_changed: int
    """Questions asked by the instant that only one of the two worlds has."""
    labels_changed: int
    """Answers said to be known by the instant that differ between the worlds."""
    moved: tuple[Moved, ...]
    canaries: Mapping[str, int]
    """Cells of each planted leak that moved; one that nowhere moves was missed."""


def probe_future(
    workspace: Workspace,
    spec: ModelSpec,
    asked: pa.Table,
    *,
    instants: Sequence[datetime],
    join: Join,
    report: Report,
) -> tuple[FutureEvidence, ...]:
    """Rewrite what was not known at each instant and compare everything that was visible by then.

    ``asked`` holds every question of the model, answered or not. Of those asked by the instant up
    to 10 000 are joined again: half of them the last ones, which lean most on what is new.

    Raises
    ------
    ConfigError, RepoError
        If the pipelines or the examples' query cannot be run over rewritten events.
    """
    pipelines = read_pipelines(workspace.repo)
    found = []
    for seed, at in enumerate(instants, start=1):
        report(f"rewrite what was not known by {at:%Y-%m-%d %H:%M}")
        rewriting = Rewriting(workspace, spec, pipelines, at=at, seed=seed)
        with (
            tempfile.TemporaryDirectory(prefix="knownat-future-") as scratch,
            shadow_of(workspace, rewriting, scratch=Path(scratch)) as shadow,
        ):
            tables = [_compare_tables(table, workspace, shadow, at) for table in pipelines.feature]
            asked_in_both = _match(asked, spec, rewriting)
            joined = replace(
                asked_in_both,
                before=join(workspace, asked_in_both.before),
                after=join(shadow, asked_in_both.after),
            )
        found.append(_evidence(spec, rewriting, tables, joined))
    return tuple(found)


def choose_instants(asked: pa.Table, spec: ModelSpec) -> list[datetime]:
    """Choose when to rewrite: the cutoff, and earlier instants at which many questions were open."""
    cutoff = to_us(spec.time.cutoff)
    labelled = asked.filter(pc.is_valid(asked[LABEL]))
    begun, ended = (np.sort(microseconds(labelled[name])) for name in (EVENT_TIMESTAMP, LABEL_TIMESTAMP))
    early = begun[begun < cutoff]
    dice = np.random.default_rng(20130101)
    instants = [spec.time.cutoff]
    for _ in range(spec.leaks.instants - 1):
        # Where nothing is open, nothing that matters is rewritten.
        tried = dice.choice(early, size=_CANDIDATES)
        still_open = np.searchsorted(begun, tried, "right") - np.searchsorted(ended, tried, "right")
        instants.append(from_us(int(tried[still_open.argmax()])))
    return instants


def _compare_tables(
    table: Feature, workspace: Workspace, shadow: Workspace, at: datetime
) -> tuple[int, Moved | None]:
    before, after = (world.data / f"{table.name}.parquet" for world in (workspace, shadow))
    return moved_rows(f"table '{table.name}'", before, after, at=at, keys=table.keys)


def _match(asked: pa.Table, spec: ModelSpec, rewriting: Rewriting) -> Matched:
    before, after = _planted(asked, spec), _planted(rewriting.examples, spec)
    return match_questions(before, after, spec, at=rewriting.at, most=MOST_QUESTIONS)


def _evidence(
    spec: ModelSpec, rewriting: Rewriting, tables: Sequence[tuple[int, Moved | None]], joined: Matched
) -> FutureEvidence:
    keys = [*spec.examples.keys, EVENT_TIMESTAMP]
    columns = list(_features(joined.before, spec))
    planted = {canary.name: _column(canary.name) for canary in CANARIES}
    return FutureEvidence(
        instant=rewriting.at.isoformat(),
        events=rewriting.events,
        tables=len(tables),
        rows_visible=sum(rows for rows, _ in tables),
        questions=joined.before.num_rows,
        columns=len(columns),
        questions_changed=joined.only_in_one,
        labels_changed=_labels_changed(joined, rewriting.at),
        moved=(
            *(moved for _, moved in tables if moved),
            *moved_cells(joined.before, joined.after, columns=columns, keys=keys),
        ),
        canaries={
            name: count_differing(joined.before[column], joined.after[column])
            for name, column in planted.items()
        },
    )


def _planted(asked: pa.Table, spec: ModelSpec) -> pa.Table:
    for name, column in plant_canaries(asked, spec).items():
        asked = asked.append_column(_column(name), column)
    return asked


def _column(canary: str) -> str:
    return f"__canary_{canary}"


def _features(frame: pa.Table, spec: ModelSpec) -> Iterator[str]:
    """Name what a model may be given: request inputs and features, but no key, no time, no answer."""
    planted = {_column(canary.name) for canary in CANARIES}
    known = {*spec.examples.keys, EVENT_TIMESTAMP, LABEL, LABEL_TIMESTAMP, spec.examples.weight, *planted}
    yield from (name for name in frame.column_names if name not in known)


def _labels_changed(joined: Matched, at: datetime) -> int:
    known = pc.less_equal(joined.before[LABEL_TIMESTAMP], pa.scalar(at, joined.before[LABEL_TIMESTAMP].type))
    mask = pc.fill_null(known, False)
    before, after = joined.before.filter(mask), joined.after.filter(mask)
    return count_differing(before[LABEL], after[LABEL])
