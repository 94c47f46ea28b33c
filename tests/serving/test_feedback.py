"""What users find odd: kept whole, made again to the bit, and held against later releases."""

import json
from datetime import UTC, datetime

import pytest

from knownat.cli import main
from knownat.clock import FileClock, from_us
from knownat.contract import feedback as bundles
from knownat.contract.feedback import list_bundles, read_bundle
from knownat.scoring.replay import replay
from serving.keys import Scope, add_key
from serving.prediction_ids import KEY_FILE
from tests.serving.parcels import HOUR_US, MODEL, NOW_US, asking, make_parcels

ODD = "Depot 1 is never late on a Friday.\nAsk Søren 🙂"


@pytest.fixture
def parcels(tmp_path):
    return make_parcels(tmp_path)


@pytest.fixture
def asked(parcels):
    with asking(parcels) as made:
        yield made


def say(asked, prediction_id, comment=ODD, **more):
    return asked.post("/v1/feedback", json={"prediction_id": prediction_id, "comment": comment, **more})


def kept(asked):
    return list(list_bundles(asked.parcels.workspace.feedback))


def run(capsys, *words):
    """Run a command; return its exit code and what it printed."""
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words)])
    printed = capsys.readouterr()
    return ended.value.code or 0, printed.out + printed.err


def test_a_comment_is_kept_with_everything_that_made_its_prediction(asked, parcels):
    answer = asked.predict(depot=1, weight=7.0).json()
    prediction = answer["predictions"][0]
    asked.clock.move_to(NOW_US + HOUR_US)

    told = say(asked, prediction["prediction_id"]).json()

    (bundle,) = kept(asked)
    assert told == {"feedback_id": bundle.feedback_id, "created": True}
    assert (bundle.comment, bundle.posted_at) == (ODD, from_us(NOW_US + HOUR_US))
    assert (bundle.prediction_id, bundle.request_id) == (prediction["prediction_id"], answer["request_id"])
    assert (bundle.model, bundle.version, bundle.role) == (MODEL, "1", "champion")
    assert bundle.event_timestamp == datetime(2024, 3, 1, 12, tzinfo=UTC)
    assert (bundle.score, bundle.degraded) == (prediction["score"], False)
    assert bundle.keys == {"depot_id": 1}
    assert bundle.inputs == {"weight_kg": 7.0}
    assert bundle.features == {
        "depot__parcels_count_1d": 40,
        "depot__delay_mean_min_1d": 52.5,
        "depot__region": "south",
        "load__kg_per_parcel": 7.0 / 40,
    }
    assert bundle.views["depot"].model_dump() == {
        "status": "present",
        "event_timestamp": from_us(NOW_US - HOUR_US),
        "created_timestamp": from_us(NOW_US - HOUR_US),
        "age_seconds": 3600.0,
    }
    assert bundle.made_by.digest == parcels.releases["1"].digest
    assert bundle.made_by.lightgbm == "4.7.0"


@pytest.mark.parametrize("sealed", [False, True], ids=["in a journal", "in a segment"])
def test_a_prediction_is_found_among_others_wherever_it_lies(asked, sealed):
    rows = [{"keys": {"depot_id": 1}, "inputs": {"weight_kg": float(n)}} for n in range(50)]
    answer = asked.post(f"/v1/models/{MODEL}/predict", json={"rows": rows}).json()
    if sealed:
        asked.book.close()

    assert say(asked, answer["predictions"][31]["prediction_id"]).status_code == 200
    assert kept(asked)[0].inputs == {"weight_kg": 31.0}


def test_saying_the_same_twice_is_one_bundle(asked):
    one = asked.predicted()

    first, again, other = say(asked, one).json(), say(asked, one).json(), say(asked, one, "Too low.").json()

    assert again == {"feedback_id": first["feedback_id"], "created": False}
    assert other["created"] is True
    assert len(kept(asked)) == 2


def test_an_id_that_no_prediction_has_is_not_found(asked):
    one = asked.predicted()
    forged = one[:-1] + ("0" if one[-1] != "0" else "1")

    for unknown in (forged, "x", "late_parcel.../../etc/passwd.0", one.replace("late", "soon")):
        answer = say(asked, unknown)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_prediction")
        assert unknown not in answer.text
    assert kept(asked) == []


def test_an_id_of_another_installation_is_not_found_though_its_row_is_here(asked, parcels):
    one = asked.predicted()
    (parcels.workspace.predictions / KEY_FILE).unlink()

    with asking(parcels) as other:
        assert say(other, one).status_code == 404


def test_a_prediction_whose_row_is_gone_is_not_found(asked, parcels):
    one = asked.predicted()
    for path in (parcels.workspace.predictions / MODEL / "1").iterdir():
        path.unlink()

    answer = say(asked, one)

    assert answer.status_code == 404
    assert "past its retention" in answer.json()["error"]["message"]


BAD = {
    "no comment": {"comment": None},
    "nothing said": {"comment": " \n "},
    "too much": {"comment": "secret" * 700},
    "steering a terminal": {"comment": "secret\x1b[2J"},
    "NUL": {"comment": "secret\0"},
    "a number": {"comment": 7},
    "no id": {"prediction_id": None},
    "an endless id": {"prediction_id": "secret" * 50},
    "an unknown field": {"secret": "secret"},
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
def test_a_bad_comment_is_refused_and_not_repeated(asked, change):
    body = {"prediction_id": asked.predicted(), "comment": "odd", **change}

    answer = asked.post("/v1/feedback", json=body)

    assert answer.status_code == 422
    assert "secret" not in answer.text
    assert kept(asked) == []


def test_the_longest_comment_is_taken_and_a_longer_body_is_not(asked):
    one = asked.predicted()

    written = '{"prediction_id":"%s","comment":"%s"}'
    longest = written % (one, "\\ud83d\\ude42" * 4_000)
    assert asked.post("/v1/feedback", content=longest).status_code == 200
    assert len(kept(asked)[0].comment) == 4_000
    answer = asked.post("/v1/feedback", content=written % (one, "x" * (64 << 10)))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


def test_feedback_takes_a_key_of_its_own(parcels, tmp_path):
    keys = tmp_path / "keys.json"
    _, predicts = add_key(keys, "shop", frozenset({Scope.PREDICT}), now_us=NOW_US, days=None)
    _, says = add_key(keys, "desk", frozenset({Scope.FEEDBACK}), now_us=NOW_US, days=None)
    body = {"prediction_id": "x", "comment": "odd"}

    def status(key):
        return asked.post("/v1/feedback", json=body, headers={"x-api-key": key}).status_code

    with asking(parcels, keys=keys) as asked:
        assert (status(predicts), status(says), status("")) == (403, 404, 401)


def test_a_disk_that_takes_no_bundle_keeps_nothing_of_it(asked, monkeypatch):
    one = asked.predicted()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundles.os, "fsync", full)
    answer = say(asked, one)
    monkeypatch.undo()

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "log_unavailable")
    assert [
        *asked.parcels.workspace.feedback.rglob("*.json"),
        *asked.parcels.workspace.feedback.rglob(".*"),
    ] == []
    assert say(asked, one).json()["created"] is True


def test_a_bundle_is_nobody_elses_business(asked):
    say(asked, asked.predicted())

    (path,) = asked.parcels.workspace.feedback.glob("*/*.json")
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("depot", [1, 2, 3, None])
def test_a_replay_gives_the_same_score_and_names_nothing(asked, capsys, depot):
    say(asked, asked.predicted(depot=depot, weight=0.1 + 0.2))
    (bundle,) = kept(asked)

    code, printed = run(
        capsys, "feedback", "replay", bundle.feedback_id[:6], "--repo", asked.parcels.workspace.repo, "--json"
    )

    assert code == 0
    told = json.loads(printed)
    assert told["differences"] == []
    assert told["replayed"] == pytest.approx(bundle.score, abs=1e-12)


def change_bundle(asked, **changes):
    """Rewrite the only bundle on disk; return its id."""
    (path,) = asked.parcels.workspace.feedback.glob("*/*.json")
    document = json.loads(path.read_text())
    for part, value in changes.items():
        document[part] = {**document[part], **value} if isinstance(value, dict) else value
    path.write_text(json.dumps(document))
    return document["feedback_id"]


def test_a_replay_names_what_comes_out_otherwise(asked, capsys):
    say(asked, asked.predicted())
    odd = change_bundle(asked, score=0.5, features={"load__kg_per_parcel": 3.0})

    code, printed = run(capsys, "feedback", "replay", odd, "--repo", asked.parcels.workspace.repo)

    assert code == 1
    assert "score (one by one): 0.5 became " in printed
    assert "score (in batch): 0.5 became " in printed
    assert "load__kg_per_parcel: 3.0 became 0.175" in printed


def test_a_replay_refuses_another_release_than_the_one_that_answered(asked, capsys):
    say(asked, asked.predicted())
    odd = change_bundle(asked, made_by={"digest": "0" * 64})

    code, printed = run(capsys, "feedback", "replay", odd, "--repo", asked.parcels.workspace.repo)

    assert code == 2
    assert "the deployed one 000000000000" in printed


def test_a_bundle_that_lacks_a_value_says_which(asked, capsys):
    say(asked, asked.predicted())
    (path,) = asked.parcels.workspace.feedback.glob("*/*.json")
    document = json.loads(path.read_text())
    del document["features"]["depot__region"], document["inputs"]["weight_kg"]
    path.write_text(json.dumps(document))

    code, printed = run(capsys, "feedback", "replay", path.stem, "--repo", asked.parcels.workspace.repo)

    assert code == 2
    assert "It lacks ['depot__region', 'input weight_kg']" in printed


def test_comments_are_listed_and_shown(asked, capsys):
    say(asked, asked.predicted())
    (bundle,) = kept(asked)
    repo = asked.parcels.workspace.repo

    assert bundle.feedback_id in run(capsys, "feedback", "list", "--repo", repo)[1]
    assert "No comment" in run(capsys, "feedback", "list", "other", "--repo", repo)[1]
    code, printed = run(capsys, "feedback", "show", bundle.feedback_id[:4], "--repo", repo)
    assert code == 0
    for part in (ODD, 'depot__region = "south"', "depot_id = 1", "depot: present, 3600 s old"):
        assert part in printed
    assert read_bundle(asked.parcels.workspace.feedback, bundle.feedback_id) == bundle
    code, printed = run(capsys, "feedback", "show", "nothing", "--repo", repo)
    assert code == 2
    assert "`knownat feedback list` names each" in printed


def test_old_bundles_are_removed_and_kept_cases_stay(asked, parcels, capsys):
    say(asked, asked.predicted(), "old")
    run(capsys, "feedback", "keep", kept(asked)[0].feedback_id, "--repo", parcels.workspace.repo)
    asked.clock.move_to(NOW_US + 25 * HOUR_US)
    say(asked, asked.predicted(), "new")
    path = parcels.workspace.home / "clock"
    FileClock(path).move_to(NOW_US + 26 * HOUR_US)
    words = ["prune", "--days", "1", "--clock", f"file:{path}", "--repo", parcels.workspace.repo]

    assert run(capsys, "feedback", words[0], "other", *words[1:])[1].strip() == "0 bundles are gone."
    assert run(capsys, "feedback", *words) == (0, "1 bundles are gone.\n")

    assert [bundle.comment for bundle in kept(asked)] == ["new"]
    assert len(list((parcels.workspace.models / "cases" / MODEL).iterdir())) == 1


def test_a_case_holds_later_releases_to_what_is_right(asked, parcels, capsys):
    say(asked, asked.predicted(depot=1))
    (bundle,) = kept(asked)
    repo = parcels.workspace.repo
    assert bundle.score > 0.5

    shown = run(capsys, "feedback", "keep", bundle.feedback_id, "--repo", repo)
    assert shown[0] == 0
    assert run(capsys, "feedback", "check", MODEL, "--repo", repo)[0] == 0
    code, printed = run(
        capsys,
        "feedback",
        "keep",
        bundle.feedback_id,
        "--at-most",
        "0.4",
        "--why",
        "a clear day",
        "--repo",
        repo,
    )
    assert code == 0
    code, printed = run(capsys, "feedback", "check", MODEL, "--repo", repo)
    assert code == 1
    assert f"FAILED  {bundle.feedback_id}" in printed
    assert "a clear day" in printed
    assert "1 cases, 1 not as they should be" in printed

    parcels.publish("2", opposite=True)
    code, printed = run(capsys, "feedback", "check", MODEL, "--version", "2", "--repo", repo, "--json")
    assert code == 0
    (case,) = json.loads(printed)["cases"]
    assert case["score"] < 0.4
    assert (case["found_in"], case["score_then"], case["at_most"]) == ("1", bundle.score, 0.4)


def test_a_case_holds_no_entity_keys(asked, parcels, capsys):
    say(asked, asked.predicted())
    run(capsys, "feedback", "keep", kept(asked)[0].feedback_id, "--repo", parcels.workspace.repo)

    (path,) = (parcels.workspace.models / "cases" / MODEL).iterdir()
    assert "depot_id" not in path.read_text()
    assert "prediction_id" not in path.read_text()


def test_a_case_that_a_release_cannot_be_asked_about_speaks(asked, parcels, capsys):
    say(asked, asked.predicted())
    repo = parcels.workspace.repo
    run(capsys, "feedback", "keep", kept(asked)[0].feedback_id, "--repo", repo)
    (path,) = (parcels.workspace.models / "cases" / MODEL).iterdir()
    document = json.loads(path.read_text())
    del document["features"]["depot__region"]
    path.write_text(json.dumps(document))

    code, printed = run(capsys, "feedback", "check", MODEL, "--repo", repo)

    assert code == 1
    assert "lacks ['depot__region'], which version 1 reads" in printed


def test_bounds_that_no_score_can_meet_are_refused(asked, parcels, capsys):
    say(asked, asked.predicted())
    words = ["keep", kept(asked)[0].feedback_id, "--at-least", "0.6", "--at-most", "0.4"]

    code, printed = run(capsys, "feedback", *words, "--repo", parcels.workspace.repo)

    assert code == 2
    assert "no score is at least 0.6 and at most 0.4" in printed
    assert not (parcels.workspace.models / "cases").exists()


def test_what_json_does_not_have_survives_a_bundle(asked, parcels):
    say(asked, asked.predicted())
    change_bundle(asked, features={"depot__delay_mean_min_1d": "NaN"})

    (bundle,) = kept(asked)

    assert bundle.features["depot__delay_mean_min_1d"] == "NaN"
    made = replay(parcels.releases["1"], bundle)
    assert 0 < made.score < 1
    assert {d.name for d in made.differences} == {"score (one by one)", "score (in batch)"}
