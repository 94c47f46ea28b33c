"""What a group of features is worth: by a frame of which it is known."""

from dataclasses import replace

import numpy as np
import pytest

from knownat.errors import ConfigError
from tests.training.prepared import make_prepared
from training.leads import Lead
from training.pipeline import say_nothing
from training.upkeep import Upkeep, measure_upkeep
from training.worth import Worth, Worths, group_columns, weigh_groups


def weigh(prepared, by):
    return weigh_groups(prepared, by=by, folds=2, progress=say_nothing)


def test_columns_that_made_the_answer_earn_and_noise_does_not():
    found = weigh(make_prepared(), "column")
    worth = {group.name: group for group in found.groups}
    assert [group.name for group in found.groups][-1] in ("depot__open", "parcel__kind", "parcel__weight")
    for name in ("depot__load", "depot__delay"):
        assert worth[name].earns
        assert worth[name].gain.low < worth[name].gain.value < worth[name].gain.high
    assert "depot__open" in [group.name for group in found.earning_nothing]
    assert not {"depot__load", "depot__delay"} & {group.name for group in found.earning_nothing}


@pytest.mark.parametrize("task", ["regression", "multiclass", "quantile"])
def test_a_gain_is_above_zero_also_where_less_is_better(task):
    found = weigh(make_prepared(task), "view")
    assert found.groups[0].name == "depot"
    assert found.groups[0].columns == ("depot__load", "depot__delay", "depot__open")
    assert found.groups[0].earns


def test_upkeep_is_the_rows_bytes_and_a_features_share_of_them():
    upkeep = measure_upkeep(make_prepared().joined)
    # Two doubles of eight bytes and a boolean of one, beside what every row begins and ends with.
    assert upkeep["depot__load"].bytes_a_row == 8
    assert upkeep["depot__open"].bytes_a_row == 1
    assert upkeep["depot"].bytes_a_row > 17
    assert upkeep["parcel"] == upkeep["parcel__weight"]
    assert upkeep["parcel"].bytes_a_row == 0
    assert upkeep["parcel"].us_a_row > 0
    assert all(np.isfinite(cost.us_a_row) for cost in upkeep.values())


def test_what_earns_nothing_is_listed_dearest_first():
    idle, sure = Lead(0.01, -0.01, 0.03), Lead(0.01, 0.001, 0.02)
    costs = {"slow": (sure, 0, 90.0), "b": (idle, 40, 1.0), "a": (idle, 40, 1.0), "wide": (idle, 80, 1.0)}
    costs["made"] = (idle, 0, 50.0)
    groups = tuple(Worth(name, (name,), gain, Upkeep(b, us)) for name, (gain, b, us) in costs.items())
    found = Worths("late_parcel", "auc", 0.7, 900, groups)
    assert [group.name for group in found.earning_nothing] == ["made", "wide", "a", "b"]


def test_a_view_of_one_feature_saves_all_of_its_cost_without_it_and_noise_saves_nothing():
    joined = make_prepared().joined
    (view,) = joined.plan.views
    alone = view.model_copy(update={"features": view.features[:1]})
    plan = joined.plan.model_copy(update={"views": (alone,), "transforms": ()})
    upkeep = measure_upkeep(replace(joined, plan=plan))
    assert upkeep["depot__load"] == upkeep["depot"]
    assert Upkeep(40.0, 1.0).minus(Upkeep(32.0, 1.25)) == Upkeep(8.0, 0.0)


def test_one_group_alone_cannot_be_left_out():
    prepared = make_prepared()
    assert group_columns(["a__x", "a__y"], "column") == {"a__x": ["a__x"], "a__y": ["a__y"]}
    only = prepared.data.only(["depot"])
    with pytest.raises(ConfigError, match="one view only"):
        weigh(
            type(prepared)(prepared.spec, prepared.asked, prepared.joined, only, prepared.certificate), "view"
        )
