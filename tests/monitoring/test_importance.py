import lightgbm
import pytest

from monitoring.importance import gain_shares
from tests.monitoring.shop_log import SCHEMA


def test_importance_is_lightgbms_own_gain(trained):
    text = trained.release.read_bytes("model.txt")
    gains = lightgbm.Booster(model_str=text.decode()).feature_importance("gain")

    # The text keeps six digits of each gain.
    assert gain_shares(text, columns=len(SCHEMA.columns)) == pytest.approx(gains / gains.sum(), rel=1e-4)
    assert max(gains) > 0


def test_a_model_without_splits_leans_on_nothing():
    assert gain_shares(b"Tree=0\nnum_leaves=1\nsplit_feature=\nsplit_gain=\n", columns=2) == [0.0, 0.0]
