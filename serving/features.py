"""The one module of the scorer that opens a feature repo; only another store than ours needs Feast."""

import logging
from pathlib import Path

import pyarrow as pa

from knownat.contract.read_plan import FeatureReader, ReadPlan
from knownat.errors import RepoError, StoreUnavailable
from knownat.stores.online_address import open_rows, read_address
from knownat.stores.packed_read import PackedReader
from knownat.stores.row_keys import ViewName
from knownat.stores.rows import RowReads, RowStore
from serving.batch import History
from serving.loading import OpenReader

_logger = logging.getLogger(__name__)


def open_feature_store(repo: Path) -> OpenReader:
    """Open a repo's online store once; the returned function gives each release its reader over it.

    Packed rows (LMDB, Redis) are read by the release's own plan, as a
    :class:`knownat.stores.packed_read.PackedReader`: no registry, no Feast. Any other online store
    is read through Feast's API, slower, with the same answers.

    The returned function raises RepoError for a view that was never written. A store that does not
    answer while a release is loaded is no reason to refuse it: each read says so by itself.

    Raises
    ------
    RepoError, ConfigError
        If the repo, its settings or its registry are not what they should be.
    StoreUnavailable
        If the folder of an embedded store cannot be opened.
    """
    address = read_address(repo)
    if address is None:
        return _through_feast(repo)
    rows = open_rows(address)

    def open_reader(plan: ReadPlan) -> PackedReader:
        _refuse_unwritten(rows, plan)
        return PackedReader(rows, plan)

    return open_reader


def open_row_store(repo: Path) -> RowStore | None:
    """Open what a push writes to; none where the online store keeps no packed rows.

    Raises
    ------
    ConfigError
        If the repo's settings cannot be read.
    StoreUnavailable
        If an embedded store is not there.
    """
    address = read_address(repo)
    return None if address is None else open_rows(address)


def _refuse_unwritten(rows: RowReads, plan: ReadPlan) -> None:
    try:
        missing = [view.name for view in plan.views if not _written(rows, plan.project, view.stored_view)]
    except StoreUnavailable as error:
        _logger.warning("%s: %s", plan.feature_service, error)
        return
    if missing:
        raise RepoError(f"Views {missing} have no online rows. Run `knownat materialize`.")


def _written(rows: RowReads, project: str, view: str) -> bool:
    # A view without a row that was ever visible has a watermark; one that was only pushed to, a schema.
    name = ViewName(project, view)
    return rows.watermark(name) is not None or bool(rows.schemas(name))


def _through_feast(repo: Path) -> OpenReader:
    # Feast costs 5-8 CPU seconds, and two of its stores in one process slow each other down twelvefold.
    from knownat.stores.online import FeastReader
    from knownat.stores.repo import open_repo

    opened = open_repo(repo)

    def open_reader(plan: ReadPlan) -> FeatureReader:
        return FeastReader(opened, plan)

    return open_reader


def open_history(repo: Path) -> History:
    """Open a repo for the stored values that were known at each row's own time.

    Raises
    ------
    RepoError
        If the repo or its registry is not what it should be.
    """
    from knownat.stores.history import replay_frame
    from knownat.stores.repo import open_repo

    opened = open_repo(repo)

    def history(examples: pa.Table, plan: ReadPlan) -> pa.Table:
        # By the release's plan: it has what the on-demand views read, which the service does not name.
        return replay_frame(opened, examples, plan, known_at="event_timestamp")

    return history
