"""One window of the shop, judged in memory: what was asked, what was served, what came of it."""

from datetime import timedelta

import numpy as np
import pyarrow as pa

from knownat.contract.prediction_log import LABEL_SCHEMA
from knownat.contract.reference import read_reference
from monitoring.judgement import profile_window, summarize
from monitoring.source import Evidence, read_sample
from monitoring.summary import Summary
from monitoring.windows import Window
from tests.monitoring.shop_log import END, START, Shop

MATURED = END + timedelta(hours=48)
WINDOW = Window(START, END)


def gather(shop: Shop, served: pa.Table, labels: np.ndarray | None) -> Evidence:
    """Answer questions with the features that were served; ``labels`` come five hours later, if at all."""
    predictions = shop.rows(served)
    when = [moment + timedelta(hours=5) for moment in predictions["event_timestamp"].to_pylist()]
    known = np.zeros(len(when)) if labels is None else labels
    posted = pa.table([predictions["prediction_id"], known, when, when], names=LABEL_SCHEMA.names)
    release = shop.release
    return Evidence(
        release=release,
        reference=read_reference(release),
        baseline=read_sample(release, "baseline.parquet"),
        holdout=read_sample(release, "holdout.parquet"),
        predictions=predictions,
        labels=LABEL_SCHEMA.empty_table() if labels is None else posted.cast(LABEL_SCHEMA),
        other_rows={},
    )


def judge(shop: Shop, served: pa.Table, labels: np.ndarray | None) -> Summary:
    evidence = gather(shop, served, labels)
    return summarize(evidence, profile_window(evidence), WINDOW, now=MATURED)


def with_column(table: pa.Table, name: str, values) -> pa.Table:
    made = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, from_pandas=True)
    return table.set_column(table.column_names.index(name), name, made)
