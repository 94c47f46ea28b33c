"""Rows of a view's offline table, as they lie there now: for finding the one that was served."""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from knownat.contract.read_plan import PlanView
from knownat.errors import RepoError
from knownat.stores.repo import Repo
from knownat.stores.services import take_apart
from knownat.stores.sources import feature_table
from knownat.stores.tables import EVENT_US, FeatureTable, Window, read_rows


@dataclass(frozen=True)
class ViewRows:
    """One view's table, opened."""

    table: FeatureTable
    features: tuple[str, ...]

    def of_entities(self, keys: pl.DataFrame) -> pl.DataFrame:
        """Read every row of these entities: keys, features and exact times."""
        return read_rows(self.table, self.features, Window(), only=keys.unique())

    def of_events(self, event_us: pl.Series) -> pl.DataFrame:
        """Read the rows of any entity that have one of these event times."""
        if not len(event_us):
            return read_rows(self.table, self.features, Window(until_us=0, event_from_us=1))
        oldest = event_us.min()
        since = oldest if isinstance(oldest, int) else None
        rows = read_rows(self.table, self.features, Window(event_from_us=since))
        return rows.filter(pl.col(EVENT_US).is_in(event_us.unique().implode()))


def view_opener(repo: Repo, feature_service: str) -> Callable[[PlanView], ViewRows]:
    """Return what opens the tables of a service's views.

    Raises
    ------
    RepoError
        If the registry has no such service; on opening, if it no longer reads the view.
    """
    stored = {view.name: view.view for view in take_apart(repo.store, feature_service).views}

    def open_view(view: PlanView) -> ViewRows:
        if view.name not in stored:
            raise RepoError(f"Service '{feature_service}' no longer reads view '{view.name}'.")
        table = feature_table(stored[view.name], repo.store.config)
        return ViewRows(table, tuple(feature.name for feature in view.features))

    return open_view
