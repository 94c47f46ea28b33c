"""Groups of rows judged apart: a bad one is named, and chance among many names none."""

import numpy as np
import pyarrow as pa
import pytest

from knownat.contract.model_spec import Slice
from monitoring.slices import measure_slices
from tests.monitoring.shop_log import CITIES, make_features, make_labels
from tests.soak import scale

CITY = "profile__city"


@pytest.fixture(scope="module")
def manifest(trained):
    """The shop's manifest with its cities as slices, as they were on many rows of its test."""
    spec = trained.release.manifest.spec
    slices = (Slice(column=CITY), Slice(column="customer_id"), Slice(column="nowhere"))
    wanted = trained.release.manifest.model_copy(update={"spec": spec.model_copy(update={"slices": slices})})
    measured = measure_slices(wanted, *judged(trained, seed=50, rows=40_000))
    groups = {s.group: {"auc": s.window.value, "rows": 1.0} for s in measured}
    return wanted.model_copy(update={"slices": {CITY: groups}})


def judged(trained, *, seed, rows=4_000):
    features = make_features(rows, seed=seed)
    keys = features.append_column("key__customer_id", pa.array(np.arange(rows)))
    return keys, make_labels(features, seed=seed + 1), trained.score(features)


def test_every_large_enough_group_stands_beside_the_releases_own(trained, manifest):
    found = measure_slices(manifest, *judged(trained, seed=7))

    assert {(s.column, s.group) for s in found} == {(CITY, city) for city in CITIES}
    for change in found:
        assert change.window.low < change.window.value < change.window.high
        assert change.release == pytest.approx(change.window.value, abs=0.06)
        assert change.drop == pytest.approx((change.release - change.window.value) / change.release)
        assert change.mean_score == pytest.approx(change.mean_label, abs=0.06)


def test_a_group_whose_labels_are_the_opposite_comes_first(trained, manifest):
    rows, labels, scores = judged(trained, seed=7)
    labels = np.where(np.array(rows[CITY].to_pylist()) == "Cork", 1 - labels, labels)

    found = measure_slices(manifest, rows, labels, scores)

    assert found[0].group == "Cork"
    assert [s.group for s in found if s.fell] == ["Cork"]


def test_chance_among_groups_names_none(trained, manifest):
    windows = scale(15, 200)
    named = sum(
        any(s.fell for s in measure_slices(manifest, *judged(trained, seed=100 + 2 * w, rows=2_500)))
        for w in range(windows)
    )

    assert named <= 0.05 * windows


def test_a_group_the_release_did_not_measure_is_shown_and_not_judged(trained, manifest):
    unknown = manifest.model_copy(update={"slices": {}})
    rows, labels, scores = judged(trained, seed=7)

    found = measure_slices(unknown, rows, 1 - labels, scores)

    assert {(s.release, s.drop, s.fell) for s in found} == {(None, None, False)}


def test_rows_of_a_null_and_of_few_are_told_apart(trained, manifest):
    rows, labels, scores = judged(trained, seed=7)
    names = pa.array([None if i < 300 else "few" if i < 400 else "Cork" for i in range(4_000)])
    rows = rows.set_column(rows.column_names.index(CITY), CITY, names)

    assert {s.group for s in measure_slices(manifest, rows, labels, scores)} == {"null", "Cork"}
