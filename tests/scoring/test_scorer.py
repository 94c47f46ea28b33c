import resource
from multiprocessing import active_children

import numpy as np
import pytest

from knownat.contract.release import read_release
from knownat.contract.schema import Column, FeatureSchema
from knownat.errors import ReleaseError, SchemaMismatch
from knownat.scoring.booster import Booster
from knownat.scoring.scorer import Scorer, largest_difference, same_values
from knownat.scoring.trial import TrialLimits, trial_load
from tests.scoring.small_release import SCHEMA, SOURCE, golden_table, publish_small


def columns_of(scorer, table):
    given = table.to_pydict()
    stored = {name: given[name] for name in given if name.startswith("depot__")}
    return scorer.columns(stored, {"weight_kg": given["weight_kg"]})


def test_rows_score_the_same_alone_and_together(tmp_path):
    scorer = Scorer.load(publish_small(tmp_path))
    columns = columns_of(scorer, golden_table())
    together = scorer.score(columns)
    alone = [scorer.score({name: [values[i]] for name, values in columns.items()})[0] for i in range(60)]
    assert np.max(np.abs(together - alone)) <= 1e-12
    assert len(set(together.round(6))) > 1


def test_on_demand_values_are_added_to_what_is_stored(tmp_path):
    scorer = Scorer.load(publish_small(tmp_path))
    stored = {"depot__parcels_count_1d": [4, None, 0]}
    made = scorer.columns(stored, {"weight_kg": [6.0, 6.0, 6.0]})
    assert made["load__kg_per_parcel"] == [1.5, None, None]


def test_a_missing_model_column_is_named(tmp_path):
    scorer = Scorer.load(publish_small(tmp_path))
    with pytest.raises(SchemaMismatch, match="depot__region"):
        scorer.score({"depot__parcels_count_1d": [1]})


REGION_A_NUMBER = Column(name="depot__region", dtype="float64")
FEWER = FeatureSchema(columns=SCHEMA.columns[:3])
OTHER = FeatureSchema(columns=(*SCHEMA.columns[:2], REGION_A_NUMBER, SCHEMA.columns[3]))
WRONG = SOURCE.replace("kg / n if", "kg * n if")
WRONG_ALONE = SOURCE.replace("kg / n if n", "(kg / n if inputs['weight_kg'][1:] else 0.0) if n")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"score_error": 1e-9}, r"golden scores differ by 1e-09\. Train"),
        ({"score_error": float("nan")}, r"golden scores differ by inf\. Train"),
        (
            {"files": {"transforms/load.py": WRONG}},
            r"golden rows give other values of 'load__kg_per_parcel'\.",
        ),
        ({"files": {"transforms/load.py": WRONG_ALONE}}, r"values of 'load__kg_per_parcel' one by one\."),
        ({"golden_rows": 0}, "it has no golden rows to prove"),
        ({"feature_schema": FEWER}, "the model takes 4 columns, the manifest names 3"),
        ({"feature_schema": OTHER}, "golden rows do not fit the model.*'depot__region'"),
    ],
)
def test_a_release_that_contradicts_its_golden_rows_is_refused(tmp_path, changes, reason):
    with pytest.raises(ReleaseError, match=reason):
        Scorer.load(publish_small(tmp_path, **changes))


def test_a_row_that_scores_otherwise_alone_than_it_was_recorded_is_refused(tmp_path, monkeypatch):
    predict_one = Booster.predict_one
    monkeypatch.setattr(Booster, "predict_one", lambda booster, row: [predict_one(booster, row)[0] + 1e-9])

    with pytest.raises(ReleaseError, match=r"golden scores differ by 1e-09 one by one\. Train"):
        Scorer.load(publish_small(tmp_path))


def test_values_are_the_same_when_none_meets_nan_and_numbers_are_equal():
    nan = float("nan")
    assert same_values([None, nan, 2, "a", True], [nan, None, 2.0, "a", True])
    assert not same_values([None], [0.0])
    assert not same_values([1], [1, 1])
    assert largest_difference(np.array([1.0]), np.array([1.0, 2.0])) == float("inf")
    assert largest_difference(np.array([]), np.array([])) == 0.0


DAMAGES = {
    "truncated": lambda model: model[: len(model) // 2],
    "converted to CRLF": lambda model: model.replace(b"\n", b"\r\n"),
    "a line dropped": lambda model: model.replace(b"max_feature_idx=3\n", b""),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_a_damaged_model_never_takes_its_caller_down(tmp_path, damage, capfd):
    # Published as damaged, its digests agree: only the trial stands between it and this process.
    release = publish_small(tmp_path, damage=damage)
    with pytest.raises(ReleaseError, match=str(release.path)):
        trial_load(release.path, release.digest)
    # LightGBM's words go where complaints go: a command may have promised one JSON document.
    assert capfd.readouterr().out == ""


def test_a_model_damaged_on_disk_is_refused_by_its_digest(tmp_path):
    release = publish_small(tmp_path)
    model = release.path / "model.txt"
    model.write_bytes(model.read_bytes().replace(b"\n", b"\r\n"))
    with pytest.raises(ReleaseError, match=r"model\.txt was changed"):
        read_release(release.path)
    with pytest.raises(ReleaseError, match=r"model\.txt was changed"):
        Scorer.load(release)
    with pytest.raises(ReleaseError, match=r"model\.txt was changed"):
        trial_load(release.path, release.digest)


ENDLESS = {
    "spinning": {"transforms/load.py": "def load(inputs):\n    while True:\n        pass\n"},
    "sleeping": {"transforms/load.py": "def load(inputs):\n    import time\n\n    time.sleep(600)\n"},
}


def with_lines(source, lines):
    head, body = source.split(":\n", 1)
    return f"{head}:\n{lines}{body}"


def test_a_trial_accepts_what_loads_and_leaves_no_process_behind(tmp_path):
    release = publish_small(tmp_path)
    trial_load(release.path, release.digest)
    assert active_children() == []


@pytest.mark.parametrize(
    ("name", "limits", "after"),
    [
        ("spinning", TrialLimits(cpu_seconds=1, wall_seconds=100), "1 s of processor time"),
        ("sleeping", TrialLimits(wall_seconds=2), "2 s"),
    ],
)
def test_a_trial_that_does_not_end_is_stopped_by_what_it_takes(tmp_path, name, limits, after):
    release = publish_small(tmp_path, files=ENDLESS[name])
    with pytest.raises(ReleaseError, match=rf"stopped after {after}\. Restore"):
        trial_load(release.path, release.digest, limits=limits)


def test_a_trial_leaves_no_core_file_where_it_aborts(tmp_path):
    looks = "    import resource\n\n    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)\n"
    release = publish_small(tmp_path, files={"transforms/load.py": with_lines(SOURCE, looks)})
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        trial_load(release.path, release.digest)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


def test_a_trial_that_outgrows_its_memory_is_refused(tmp_path):
    # Asked for and never touched, it takes no memory where nothing limits it.
    files = {"transforms/load.py": with_lines(SOURCE, "    bytes(9 << 30)\n")}
    release = publish_small(tmp_path, files=files)
    with pytest.raises(ReleaseError, match=rf"{release.path}: the trial load needs more than 8192 MiB\."):
        trial_load(release.path, release.digest)
