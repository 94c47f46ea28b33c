from pathlib import Path

import pytest

from knownat.contract.model_spec import read_spec
from knownat.errors import ConfigError

GOOD = """
name = "late_parcel"
description = "Will this parcel be late?"
owner = "parcels@example.org"
runbook = "docs/late_parcel.md"
task = "binary"
feature_service = "late_parcel"
metric = "auc"
static_columns = ["depot"]
baselines = ["prior", "static", "logistic"]
[examples]
sql = "late_parcel.sql"
keys = { depot_id = "int64" }
inputs = { asked_us = "int64" }
question_time_input = "asked_us"
[time]
cutoff = 2024-03-01T00:00:00Z
validation_days = 7
gap_hours = 24
test_days = 14
[[gates]]
metric = "auc"
better_than = "logistic"
"""


def write(folder: Path, text: str) -> Path:
    (folder / "late_parcel.sql").write_text("SELECT 1")
    path = folder / "late_parcel.toml"
    path.write_text(text)
    return path


def problems_of(path: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        read_spec(path)
    assert str(path) in str(caught.value)
    return caught.value.problems


def test_a_declaration_says_what_it_is(tmp_path):
    spec = read_spec(write(tmp_path, GOOD))
    assert (spec.name, spec.direction, spec.time.gap.days) == ("late_parcel", "higher", 1)
    assert spec.time.test_end.isoformat() == "2024-03-15T00:00:00+00:00"


def test_every_problem_is_reported_at_once(tmp_path):
    text = (
        GOOD.replace('name = "late_parcel"', 'name = "other"')
        .replace("parcels@example.org", "nobody")
        .replace("gap_hours = 24", "gap_hours = -1")
        .replace("test_days = 14", 'test_days = "14"\ntset_days = 3')
        .replace("00:00:00Z", "00:00:00")
        .replace('better_than = "logistic"', "at_least = 0.7\nat_most = 0.9")
    )
    listed = "\n".join(problems_of(write(tmp_path, text)))
    for told in (
        "name must be 'late_parcel'",
        "owner: ",
        "time.gap_hours: ",
        "time.test_days: ",
        "time.tset_days: ",
        "gates.0: a gate has exactly one of",
    ):
        assert told in listed


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('metric = "auc"\nstatic', 'metric = "mae"\nstatic', "metric 'mae' is not one of"),
        ('"static", "logistic"', '"static"', "compares with 'logistic', which is not among baselines"),
        ('"static", "logistic"', '"static", "logistic", "median"', "baseline 'median' belongs to a task of"),
        ('static_columns = ["depot"]', "", "baseline 'static' needs static_columns"),
        ('task = "binary"', 'task = "binary"\nquantile = 0.9', "goes with task 'quantile'"),
        ("00:00:00Z", "00:00:00", "cutoff has no time zone"),
        ('asked_us = "int64"', 'asked_us = "string"', "must be one of inputs, of type int64"),
        ('"late_parcel.sql"', '"elsewhere.sql"', "which is not beside it"),
        ('asked_us"\n[time]', 'asked_us"\nweight = "depot_id"\n[time]', "must be a column of its own"),
        ("[[gates]]", "[lightgbm.params]\nseed = 3\n[[gates]]", "set by the platform"),
        ("[time]", "[time", "cannot be read as TOML"),
    ],
)
def test_a_mistake_is_named(tmp_path, old, new, told):
    assert old in GOOD
    assert any(told in problem for problem in problems_of(write(tmp_path, GOOD.replace(old, new, 1))))


def test_an_unknown_model_is_answered_with_those_there_are(tmp_path):
    write(tmp_path, GOOD)
    assert "['late_parcel']" in problems_of(tmp_path / "early_parcel.toml")[0]
