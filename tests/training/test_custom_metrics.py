import numpy as np
import pytest

from knownat.contract.model_spec import read_spec
from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError
from knownat.scoring.metrics import intervals
from tests.contract.test_model_spec import GOOD, write
from tests.training.made import make_spec
from training.custom_metrics import load_custom_metrics

COST = """
def cost(labels, scores, weights):
    missed = (labels == 1) & (scores < 0.5)
    return 100.0 * weights[missed].sum() / weights.sum()
"""


def spec_of(**changes):
    custom = {"name": "cost", "function": "cost.py:cost", "direction": "lower", **changes}
    return make_spec(custom_metrics=[custom], gates=[{"metric": "cost", "at_most": 5.0}])


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    workspace = Workspace.at(tmp_path)
    workspace.models.mkdir()
    (workspace.models / "cost.py").write_text(COST)
    return workspace


def test_a_metric_of_ones_own_is_measured_with_an_interval(workspace):
    custom = load_custom_metrics(workspace, spec_of())
    labels, scores = np.tile([1.0, 0.0], 200), np.tile([0.2, 0.2, 0.8, 0.8], 100)
    found = intervals(["cost"], labels, scores, blocks=np.arange(400), custom=custom)["cost"]
    assert found.value == 25.0
    assert 15 < found.low < 25 < found.high < 35
    assert spec_of().direction_of("cost") == "lower"
    assert spec_of().direction_of("auc") == "higher"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1", "has no function 'cost'"),
        ("import nothing_of_that_name", "cannot be loaded"),
        ("def cost(:", "cannot be loaded"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(workspace, text, told):
    (workspace.models / "cost.py").write_text(text)
    with pytest.raises(ConfigError, match=told):
        load_custom_metrics(workspace, spec_of())


def test_a_metric_that_is_no_number_is_named(workspace):
    (workspace.models / "cost.py").write_text("def cost(labels, scores, weights): return labels")
    custom = load_custom_metrics(workspace, spec_of())
    with pytest.raises(ConfigError, match="returned ndarray"):
        custom["cost"](np.ones(2), np.ones(2), np.ones(2))


@pytest.mark.parametrize(("name", "told"), [("auc", "has the name of another"), ("cost!", "pattern")])
def test_a_name_that_cannot_be_used_is_refused(name, told):
    with pytest.raises(ValueError, match=told):
        spec_of(name=name)


def test_a_file_that_is_not_there_is_told_with_the_declaration(tmp_path):
    own = '[[custom_metrics]]\nname = "cost"\nfunction = "cost.py:cost"\ndirection = "lower"\n'
    with pytest.raises(ConfigError, match=r"there is no file 'cost\.py'"):
        read_spec(write(tmp_path, GOOD + own))
