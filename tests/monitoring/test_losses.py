import numpy as np
import pytest

from knownat.contract.model_spec import ModelSpec
from knownat.scoring.metrics import measure
from monitoring.losses import loss_name, row_losses
from tests.monitoring.shop_log import make_spec


def spec_of(task, metric, quantile=None) -> ModelSpec:
    return make_spec().model_copy(update={"task": task, "metric": metric, "quantile": quantile})


LABELS = np.array([0.0, 1.0, 1.0, 0.0])
SCORES = np.array([0.1, 0.8, 0.4, 0.0])
CLASSES = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.6, 0.3], [0.1, 0.1, 0.8]])


@pytest.mark.parametrize(
    ("task", "metric", "loss", "scores"),
    [
        ("binary", "auc", "log_loss", SCORES),
        ("binary", "ece", "log_loss", SCORES),
        ("binary", "brier", "brier", SCORES),
        ("regression", "mae", "mae", SCORES),
        ("quantile", "pinball", "pinball", SCORES),
        ("multiclass", "log_loss", "log_loss", CLASSES),
    ],
)
def test_a_rows_loss_is_a_part_of_the_metric(task, metric, loss, scores):
    spec = spec_of(task, metric, quantile=0.9 if task == "quantile" else None)

    assert loss_name(spec) == loss
    expected = measure(loss, LABELS, scores, quantile=spec.quantile)
    assert row_losses(spec, LABELS, scores).mean() == pytest.approx(expected)


def test_what_is_no_mean_of_rows_has_a_loss_that_is():
    rmse, accuracy = spec_of("regression", "rmse"), spec_of("multiclass", "accuracy")

    assert loss_name(rmse) == "squared error"
    assert row_losses(rmse, LABELS, SCORES).tolist() == pytest.approx([0.01, 0.04, 0.36, 0.0])
    assert loss_name(accuracy) == "error rate"
    assert row_losses(accuracy, LABELS, CLASSES).tolist() == [0, 0, 0, 1]
