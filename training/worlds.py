"""Two worlds that agree on what was known by an instant, and the questions asked in both."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa

from knownat.clock import to_us
from knownat.contract.model_spec import ModelSpec
from knownat.contract.workspace import Workspace
from knownat.stores.pipeline_spec import PipelineSpec
from training.examples import EVENT_TIMESTAMP, lay_out_examples
from training.rewriting import Rewritten, rewrite_unknown
from training.split import Rows, microseconds

_PLACE, _THERE = "__place", "__there"


class Rewriting:
    """Rewrites the events of one build, and asks a model's questions of what it made of them.

    Given to a build as its ``rewrite``; ``events`` and ``examples`` are there once it was called.
    """

    def __init__(
        self, workspace: Workspace, spec: ModelSpec, pipelines: PipelineSpec, *, at: datetime, seed: int
    ) -> None:
        self.at = at
        self.events: tuple[Rewritten, ...] = ()
        self.examples = pa.table({})
        self._spec, self._seed = spec, seed
        self._source = workspace.models / spec.examples.sql
        self._identity = {key for feature in pipelines.feature for key in feature.keys}
        self._identity |= set(spec.examples.keys)

    def __call__(self, connection: duckdb.DuckDBPyConnection, events: Sequence[str]) -> None:
        """Rewrite the events that ``connection`` holds, then ask."""
        self.events = rewrite_unknown(
            connection, events, at=self.at, identity=self._identity, seed=self._seed
        )
        asked = connection.sql(self._source.read_text(encoding="utf-8")).to_arrow_table()
        self.examples = lay_out_examples(asked, self._spec, source=self._source)


@dataclass(frozen=True)
class Matched:
    """The same questions in both worlds, row by row, and how many only one of them has."""

    before: pa.Table
    after: pa.Table
    only_in_one: int


def match_questions(
    before: pa.Table, after: pa.Table, spec: ModelSpec, *, at: datetime, most: int
) -> Matched:
    """Pair the questions asked by an instant; of more than ``most``, half are the last ones asked."""
    identity = [*spec.examples.keys, EVENT_TIMESTAMP]
    was, now = (_asked_by(table, at, identity, name) for table, name in ((before, _PLACE), (after, _THERE)))
    both = was.join(now, on=identity, nulls_equal=True, how="inner").sort(EVENT_TIMESTAMP, _PLACE)
    picked = both[_pick(both.height, most)]
    return Matched(
        before.take(picked[_PLACE].to_arrow()),
        after.take(picked[_THERE].to_arrow()),
        only_in_one=was.height + now.height - 2 * both.height,
    )


def _asked_by(table: pa.Table, at: datetime, identity: Sequence[str], place: str) -> pl.DataFrame:
    early = np.flatnonzero(microseconds(table[EVENT_TIMESTAMP]) <= to_us(at))
    asked = pl.DataFrame(table.select(list(identity)).take(pa.array(early)))
    return asked.with_columns(pl.Series(place, early))


def _pick(count: int, most: int) -> Rows:
    if count <= most:
        return np.arange(count)
    newest = np.arange(count - most // 2, count)
    older = np.random.default_rng(count).choice(count - most // 2, most - most // 2, replace=False)
    return np.concatenate([np.sort(older), newest])
