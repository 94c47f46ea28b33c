"""The one module of the scorer that opens a feature repo."""

from pathlib import Path

import pyarrow as pa

from knownat.contract.read_plan import FeatureReader, ReadPlan
from serving.batch import History
from serving.loading import OpenReader


def open_feature_store(repo: Path) -> OpenReader:
    """Open a repo once; the returned function gives each release its reader over it.

    Raises
    ------
    RepoError
        If the repo or its registry is not what it should be.
    """
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
