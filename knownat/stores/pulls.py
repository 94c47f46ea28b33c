"""Rows of one source as they are stored: what Feast's materialization and saved datasets read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl
import pyarrow as pa
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.repo_config import RepoConfig

from knownat.clock import to_us
from knownat.errors import RepoError
from knownat.stores.arrow_tables import feast_arrow
from knownat.stores.asof import newest_visible
from knownat.stores.historical import reading
from knownat.stores.sources import scan
from knownat.stores.tables import CREATED_US, EVENT_US, FeatureTable

_MOMENT = pl.Datetime("us", "UTC")


@dataclass(frozen=True, kw_only=True)
class Pull:
    """Columns of a source, under its own names; no features named means all columns."""

    source: DataSource
    keys: Sequence[str]
    features: Sequence[str]
    event: str
    created: str | None

    def newest(self, config: RepoConfig, start: datetime, end: datetime) -> pa.Table:
        """Find every key with a row that became visible in (start, end], and its newest visible row.

        Raises
        ------
        RepoError
            If the window ends before it starts, or the source cannot be read.
        """
        since, until = to_us(as_utc(start)), to_us(as_utc(end))
        if since > until:
            raise RepoError(
                f"{self.source.name}: the window ends ({end}) before it starts ({start}). Swap them."
            )
        with reading(self.source.name):
            table = self._table(scan(self.source, config))
            rows = newest_visible(table, since_us=since, until_us=until)
        times = [pl.col(EVENT_US).cast(_MOMENT).alias(table.event)]
        if table.created and table.created != table.event:
            times.append(pl.col(CREATED_US).cast(_MOMENT).alias(table.created))
        nobody = [] if self.keys else [pl.lit(DUMMY_ENTITY_VAL).alias(DUMMY_ENTITY_ID)]
        return feast_arrow(rows.select(*table.keys, *table.features, *times, *nobody))

    def all(self, config: RepoConfig, start: datetime | None, end: datetime | None) -> pa.Table:
        """Read all rows of an event window, both ends included.

        Raises
        ------
        RepoError
            If the source cannot be read, or lacks a column.
        """
        with reading(self.source.name):
            rows = scan(self.source, config)
            schema = rows.collect_schema()
            named = [*self.keys, *self.features, self.event, *filter(None, [self.created])]
            wanted = [*dict.fromkeys(named)] if self.features else [*schema]
            if missing := [name for name in [*wanted, self.event] if name not in schema]:
                raise RepoError(
                    f"Source '{self.source.name}' has no column {missing}; it has {sorted(schema)}. Correct "
                    "the definition, or the table."
                )
            event, kind = pl.col(self.event), schema[self.event]
            if start:
                rows = rows.filter(event >= pl.lit(as_utc(start)).cast(kind))
            if end:
                rows = rows.filter(event <= pl.lit(as_utc(end)).cast(kind))
            return feast_arrow(rows.select(wanted).collect())

    def _table(self, rows: pl.LazyFrame) -> FeatureTable:
        known = {*self.keys, self.event, self.created}
        others = [name for name in rows.collect_schema() if name not in known]
        return FeatureTable(
            name=self.source.name,
            rows=rows,
            keys=tuple(self.keys),
            event=self.event,
            created=self.created or None,
            features=tuple(self.features or others),
        )


def as_utc(when: datetime) -> datetime:
    """Return a time in UTC. Feast passes both kinds; without a zone it means UTC."""
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
