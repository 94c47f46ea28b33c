import numpy as np
import pyarrow as pa
import pytest

from knownat.contract.model_spec import Slice
from knownat.errors import ConfigError, SchemaMismatch
from tests.training.made import make_frame, make_spec
from training.calibration import calibration
from training.evaluation import days, evaluate
from training.slices import measure_slices


def test_groups_of_calibration_hold_every_row_once_in_order():
    scores = np.random.default_rng(1).random(1_003)
    groups = calibration((scores > 0.5).astype(float), scores, groups=10)
    assert sum(group.rows for group in groups) == 1_003
    assert max(group.rows for group in groups) - min(group.rows for group in groups) <= 1
    assert [g.predicted for g in groups] == sorted(g.predicted for g in groups)
    assert (groups[0].observed, groups[-1].observed) == (0.0, 1.0)


def test_a_slice_hides_no_small_or_one_sided_group_in_a_mean():
    spec = make_spec(slices=(Slice(column="city", min_rows=10),))
    city = ["Cork"] * 20 + ["Bergen"] * 10 + ["Dijon"] * 9 + [None] * 10
    labels = np.array([0.0, 1.0] * 10 + [0.0] * 10 + [1.0] * 9 + [1.0, 0.0] * 5)
    scores = labels * 0.5
    found = measure_slices(spec, pa.table({"city": city}), labels, scores)
    assert found == {
        "city": {
            "Bergen": {"mean_label": 0.0, "rows": 10.0},
            "Cork": {"auc": 1.0, "mean_label": 0.5, "rows": 20.0},
            "null": {"auc": 1.0, "mean_label": 0.5, "rows": 10.0},
        }
    }


def test_of_very_many_groups_the_fifty_largest_are_judged():
    spec = make_spec(slices=(Slice(column="city", min_rows=10),))
    city = [f"city {n:02}" for n in range(60) for _ in range(10 if n < 10 else 12)]
    labels = np.tile([0.0, 1.0], len(city) // 2)
    found = measure_slices(spec, pa.table({"city": city}), labels, labels)["city"]
    assert list(found) == [f"city {n}" for n in range(10, 60)]


def test_a_slice_on_an_unknown_column_is_named():
    spec = make_spec(slices=(Slice(column="county"),))
    with pytest.raises(SchemaMismatch, match=r"\['county'\]"):
        measure_slices(spec, make_frame(), np.zeros(1), np.zeros(1))


def test_a_metric_that_is_not_defined_stops_the_release():
    frame = make_frame().slice(0, 100)
    with pytest.raises(ConfigError, match="are not defined on it"):
        evaluate(make_spec(), frame, labels=np.ones(100), scores=np.ones(100), baselines={})


def test_a_day_begins_at_midnight_utc():
    frame = make_frame()
    assert len(np.unique(days(frame))) == 80
