"""A case says what a score may be, and is read back as it was kept, from where it belongs."""

import pytest

from knownat.contract.cases import Case, keep_case, read_cases
from knownat.errors import ConfigError

CASE = Case(
    id="0123456789abcdef",
    model="late_parcel",
    why="a clear day",
    version="1",
    score=0.9,
    inputs={"weight_kg": 7.0},
    features={"depot__region": "south", "depot__delay_mean_min_1d": float("inf")},
    at_least=0.2,
    at_most=0.4,
)


@pytest.mark.parametrize(
    ("score", "bounds", "allowed"),
    [
        (0.2, {}, True),
        (0.4, {}, True),
        (0.19999, {}, False),
        (0.40001, {}, False),
        (0.19999, {"at_least": None}, True),
        (0.40001, {"at_most": None}, True),
        (0.3, {"at_least": 0.3, "at_most": 0.3}, True),
    ],
)
def test_a_score_is_allowed_within_its_bounds_and_at_them(score, bounds, allowed):
    assert CASE.model_copy(update=bounds).allows(score) is allowed


def test_a_case_is_read_back_as_it_was_kept_and_the_last_of_its_id_stays(tmp_path):
    keep_case(tmp_path, CASE.model_copy(update={"why": "before"}))
    path = keep_case(tmp_path, CASE)

    (found,) = read_cases(tmp_path, "late_parcel")
    assert found.model_copy(update={"features": CASE.features}) == CASE
    assert {
        name: float(v) if name.endswith("1d") else v for name, v in found.features.items()
    } == CASE.features
    assert [one.name for one in path.parent.iterdir()] == ["0123456789abcdef.json"]
    assert read_cases(tmp_path, "other") == []


def test_a_case_that_cannot_be_read_is_named(tmp_path):
    path = keep_case(tmp_path, CASE)
    path.write_text("{}")

    with pytest.raises(ConfigError, match=r"0123456789abcdef\.json:\n- cannot be read as a case"):
        read_cases(tmp_path, "late_parcel")


@pytest.mark.parametrize("place", ["other/0123456789abcdef.json", "late_parcel/fedcba9876543210.json"])
def test_a_case_that_lies_where_another_belongs_is_named(tmp_path, place):
    path, moved = keep_case(tmp_path, CASE), tmp_path / "cases" / place
    moved.parent.mkdir(exist_ok=True)
    path.rename(moved)

    with pytest.raises(ConfigError, match="is case 0123456789abcdef of 'late_parcel'; move it there"):
        read_cases(tmp_path, moved.parent.name)
