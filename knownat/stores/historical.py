"""The features of a retrieval: each view joined with the questions, one after the other."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import polars as pl
import pyarrow as pa
from feast.batch_feature_view import BatchFeatureView
from feast.feature_view import FeatureView
from feast.labeling.conflict_policy import ConflictPolicy
from feast.labeling.label_view import LabelView
from feast.repo_config import RepoConfig
from feast.utils import compute_non_entity_date_range

from knownat.errors import RepoError
from knownat.stores.arrow_tables import feast_arrow
from knownat.stores.asof import FoundRows, find_as_of
from knownat.stores.deadline import Stop
from knownat.stores.examples import MadeExamples, Questions, examples_in_range
from knownat.stores.freed_memory import hand_back
from knownat.stores.inquiry import Inquiry
from knownat.stores.picking import MOST_ROWS
from knownat.stores.sources import asked_keys, feature_table, ttl_microseconds

_MANY = 1 << 17
"""Of so many questions the features take enough for what is free to be handed back before each view."""


@dataclass(frozen=True, kw_only=True)
class Join:
    """Which features of which views to find for questions."""

    views: Sequence[FeatureView]
    feature_refs: Sequence[str]
    full_feature_names: bool
    created_cutoff: bool
    most_rows: int = MOST_ROWS

    def find(self, questions: Questions, config: RepoConfig, stop: Stop) -> pa.Table:
        """Return the features alone, a row for each question. Raises the same as :meth:`columns`."""
        found = questions.table.select([])
        for name, values in self.columns(questions, config, stop):
            found = found.append_column(name, values)
        return found

    def columns(
        self, questions: Questions, config: RepoConfig, stop: Stop
    ) -> Iterator[tuple[str, pa.ChunkedArray]]:
        """Find the features one after the other, a value for each question.

        Raises
        ------
        RepoError
            If a view's table cannot be read, or two features would have one name.
        RetrievalTimeout
            If the time is up between two views.
        """
        taken: set[str] = set()
        waiting = self._rows(questions, config, stop)
        while waiting:
            view, rows = waiting.pop(0)
            prefix = f"{view.projection.name_alias or view.name}__" if self.full_feature_names else ""
            stop.check()
            if questions.table.num_rows >= _MANY:
                hand_back()
            with reading(view.name):
                for column in rows.columns(self._features(view)):
                    name = prefix + column.name
                    if name in taken:
                        raise RepoError(f"Two views have a feature '{name}'. Ask with full feature names.")
                    taken.add(name)
                    yield name, feast_arrow(column.to_frame())[column.name]

    def _rows(
        self, questions: Questions, config: RepoConfig, stop: Stop
    ) -> list[tuple[FeatureView, FoundRows]]:
        """Find the rows of every view before any column is read: what that takes is then free again."""
        inquiry, rows = Inquiry(pl.DataFrame(questions.table)), []
        for view in self.views:
            stop.check()
            with reading(view.name):
                found = find_as_of(
                    inquiry,
                    feature_table(view, config),
                    keys=asked_keys(view),
                    event_timestamp=questions.event_timestamp,
                    ttl_us=ttl_microseconds(view),
                    created_cutoff=self.created_cutoff,
                    most_rows=self.most_rows,
                )
            rows.append((view, found))
        return rows

    def _features(self, view: FeatureView) -> list[str]:
        prefix = f"{view.projection.name_to_use()}:"
        asked = (ref.removeprefix(prefix) for ref in self.feature_refs if ref.startswith(prefix))
        return [*dict.fromkeys(asked)]


def check_readable(view: FeatureView | LabelView) -> None:
    """Refuse a view whose values are not what its table holds.

    Raises
    ------
    RepoError
        If they are computed from the table, or voted on.
    """
    if isinstance(view, LabelView) and view.conflict_policy is not ConflictPolicy.LAST_WRITE_WINS:
        raise RepoError(
            f"Label view '{view.name}' resolves conflicts by {view.conflict_policy.value}; this store "
            "knows the last write only. Resolve them where its table is written."
        )
    if not isinstance(view, BatchFeatureView) or view.source_views:
        return
    if view.feature_transformation is not None or view.aggregations:
        raise RepoError(
            f"Batch feature view '{view.name}' computes its features from its source, which this store "
            "does not. Write its result to a table, and make that its source."
        )


def examples_of_range(
    views: Sequence[FeatureView], config: RepoConfig, start: datetime | None, end: datetime | None
) -> MadeExamples:
    """Ask for what the views have in a range of time; Feast's own default for its start.

    Raises
    ------
    RepoError
        If there is no end, or it lies before the start.
    """
    if end is None:
        raise RepoError("Without examples, a retrieval needs an end_date, and better a start_date too.")
    first, last = compute_non_entity_date_range(list(views), start_date=start, end_date=end)
    if first > last:
        raise RepoError(f"The range ends ({end}) before it starts ({start}). Swap them.")
    return MadeExamples(lambda stop: examples_in_range(views, config, start=first, end=last, stop=stop))


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Say whose table it was that could not be read."""
    try:
        yield
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
        raise RepoError(f"{name}: its table cannot be read: {error}") from error
