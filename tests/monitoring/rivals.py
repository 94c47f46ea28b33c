"""Another version of the shop's model, and months in which both scored the same questions."""

from datetime import timedelta

import numpy as np
import pyarrow as pa

from knownat.contract.release import publish_release, read_release, stage_release
from tests.monitoring.shop_log import BINARY, MODEL, START, Kind, Shop, fit_shop, make_features, make_labels


def add_version(shop: Shop, version: str, *, noise: float, seed: int = 21, kind: Kind = BINARY):
    """Release a model that was trained on labels with so much more noise."""
    features = make_features(3_000, seed=seed)
    label = make_labels(features, seed=seed + 1, noise=noise, kind=kind)
    booster = fit_shop(features, label, kind=kind)
    folder = shop.workspace.releases / MODEL / version
    with stage_release(folder) as staged:
        for name in shop.release.manifest.files:
            (staged / name).write_bytes((shop.release.path / name).read_bytes())
        (staged / "model.txt").write_text(booster.model_to_string())
        manifest = dict(shop.release.manifest)
        del manifest["files"]
        publish_release(staged, folder, manifest | {"version": version})
    return read_release(folder)


def days_of_questions(shop: Shop, *, days: int, rows_a_day: int, seed: int, kind: Kind = BINARY):
    """Rows of many days as the champion answers them, and their labels."""
    features = make_features(days * rows_a_day, seed=seed)
    rows = shop.rows(features)
    when = [START + timedelta(days=i // rows_a_day, minutes=i % rows_a_day) for i in range(len(rows))]
    for name in ("event_timestamp", "logged_at"):
        place = rows.column_names.index(name)
        rows = rows.set_column(place, name, pa.array(when, rows.schema.field(name).type))
    return rows, make_labels(features, seed=seed + 1, kind=kind)


def as_other(rows: pa.Table, version: str, role: str, scores: np.ndarray, *, mark: str) -> pa.Table:
    """Lay the same questions out as another version's answers, with ids of their own."""
    ids = [f"{MODEL}.{mark}{i:06d}" for i in range(len(rows))]
    shares = {f"class__{at}": scores[:, at] for at in range(scores.shape[1])} if scores.ndim == 2 else {}
    changed = {
        "prediction_id": ids,
        "version": [version] * len(rows),
        "role": [role] * len(rows),
        "score": scores.max(axis=1) if shares else scores,
        **shares,
    }
    for name, values in changed.items():
        rows = rows.set_column(rows.column_names.index(name), name, pa.array(values))
    return rows
