"""Feast's materialize commands on what became visible, not on what happened in a window.

In ``feature_store.yaml``::

    batch_engine:
      type: knownat.stores.compute.VisibleComputeEngine

``feast materialize``, ``feast materialize-incremental`` and ``FeatureStore.materialize`` then do what
``knownat materialize`` does: go on from the view's watermark, whatever window of event times Feast
passes. The window's end counts, if it is not later than now; its start is only checked.
"""

from collections.abc import Sequence
from typing import Any, Literal

import pyarrow as pa
from feast import BatchFeatureView, Entity, FeatureView, OnDemandFeatureView, StreamFeatureView
from feast.infra.common.materialization_job import MaterializationJobStatus, MaterializationTask
from feast.infra.common.retrieval_task import HistoricalRetrievalTask
from feast.infra.compute_engines.base import ComputeEngine
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import FeastConfigBaseModel
from typing_extensions import override

from knownat.clock import Clock, SystemClock, to_us
from knownat.errors import RepoError
from knownat.stores.materialization import Progress, advance_view, open_stores
from knownat.stores.packed_online import PackedOnlineStore


class VisibleComputeEngineConfig(FeastConfigBaseModel):
    """Configuration of the engine: it has no settings."""

    type: Literal["knownat.stores.compute.VisibleComputeEngine"] = (
        "knownat.stores.compute.VisibleComputeEngine"
    )


class VisibleComputeEngine(ComputeEngine):
    """Writes each entity's newest visible row, by the rules of the as-of join."""

    @override
    def update(
        self,
        project: str,
        views_to_delete: Sequence[BatchFeatureView | StreamFeatureView | FeatureView],
        views_to_keep: Sequence[BatchFeatureView | StreamFeatureView | FeatureView | OnDemandFeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
    ) -> None:
        """Do nothing: the engine keeps nothing of its own."""

    @override
    def teardown_infra(
        self,
        project: str,
        fvs: Sequence[BatchFeatureView | StreamFeatureView | FeatureView],
        entities: Sequence[Entity],
    ) -> None:
        """Do nothing: the engine keeps nothing of its own."""

    @override
    def get_historical_features(
        self, registry: BaseRegistry, task: HistoricalRetrievalTask
    ) -> RetrievalJob | pa.Table:
        raise RepoError("This engine only materializes; the offline store answers for history.")

    @override
    def _materialize_one(
        self, registry: BaseRegistry, task: MaterializationTask, **kwargs: Any
    ) -> LocalMaterializationJob:
        view, start, end = task.feature_view, task.start_time, task.end_time
        if to_us(start) > to_us(end):
            raise RepoError(
                f"View '{view.name}': the interval from {start.isoformat()} to {end.isoformat()} is "
                "inverted; without an earlier run, Feast counts its start back from now. Say "
                "`feast materialize START END`, or `knownat materialize --until END`."
            )
        # Feast's own examples ask for tomorrow. What becomes visible until then is for a later run.
        until_us = min(to_us(end), self._clock().now_us())
        with open_stores(self.repo_config, self.offline_store, self.online_store) as stores:
            advance_view(
                stores,
                view,
                until_us=until_us,
                from_scratch=task.disable_event_timestamp,
                progress=_bar(task),
            )
        return LocalMaterializationJob(
            job_id=f"{view.name}-{start}-{end}", status=MaterializationJobStatus.SUCCEEDED
        )

    def _clock(self) -> Clock:
        store = self.online_store
        return store.clock(self.repo_config) if isinstance(store, PackedOnlineStore) else SystemClock()


def _bar(task: MaterializationTask) -> Progress | None:
    if task.tqdm_builder is None:
        return None
    build, bars = task.tqdm_builder, list[Any]()

    def report(view: str, rows: int, entities: int) -> None:
        del view
        if not bars:
            bars.append(build(entities))
        bars[0].update(rows)
        if bars[0].n >= entities:
            bars[0].close()

    return report
