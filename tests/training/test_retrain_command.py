import json

import pytest
import typer
from typer.testing import CliRunner

from knownat.clock import from_us
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError
from training.audit import Step, append, last_attempt, read_lines
from training.retrain_command import retrain

WHEN = from_us(1_700_000_000_000_000)


def run(tmp_path, *arguments):
    app = typer.Typer()
    app.command()(retrain)
    return CliRunner().invoke(app, [*arguments, "--repo", str(tmp_path / "feature_repo")])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["m", "--reason", "a", "--approve", "b"], "give one of"),
        (["m", "--reason", "  "], "cannot be empty"),
        (["--approve", "yes"], "speak of one model"),
        (["a", "b", "--refuse", "no"], "speak of one model"),
    ],
)
def test_words_that_cannot_be_followed_are_refused(tmp_path, arguments, told):
    done = run(tmp_path, *arguments)

    assert done.exit_code == 2
    assert told in " ".join(done.output.split())


def test_a_model_that_cannot_be_read_is_named_and_stops_no_other(tmp_path):
    done = run(tmp_path, "one", "two", "--json")

    assert done.exit_code == 2
    assert [each["model"] for each in json.loads(done.stdout)] == ["one", "two"]
    assert "no such model" in json.loads(done.stdout)[0]["problem"]


def test_without_a_model_that_serves_there_is_nothing_to_do(tmp_path):
    assert run(tmp_path).exit_code == 0


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace.at(tmp_path / "feature_repo")


def test_every_line_says_when_who_what_why_and_on_what_evidence(workspace, monkeypatch):
    monkeypatch.setenv("KNOWNAT_USER", "ada")

    written = append(workspace, "m", 1, Step.ASKED, at=WHEN, why="a verdict", evidence={"cutoff": "x"})

    assert read_lines(workspace, "m") == [written]
    assert json.loads((workspace.releases / "retraining.jsonl").read_text()) == {
        "at": "2023-11-14T22:13:20+00:00",
        "who": "ada",
        "model": "m",
        "attempt": 1,
        "step": "asked",
        "why": "a verdict",
        "evidence": {"cutoff": "x"},
    }


def test_models_share_a_file_and_not_their_attempts(workspace):
    append(workspace, "one", 1, Step.ASKED, at=WHEN, why="a")
    append(workspace, "two", 1, Step.ASKED, at=WHEN, why="b")
    append(workspace, "one", 0, Step.REFUSED, at=WHEN, why="c")

    assert [line.why for line in read_lines(workspace, "one")] == ["a", "c"]
    assert [line.why for line in last_attempt(read_lines(workspace, "one"))] == ["a"]


def test_half_a_line_is_none_and_the_next_takes_its_place(workspace):
    append(workspace, "m", 1, Step.ASKED, at=WHEN, why="a")
    path = workspace.releases / "retraining.jsonl"
    path.write_bytes(path.read_bytes() + b'{"at": "20')

    assert len(read_lines(workspace, "m")) == 1
    append(workspace, "m", 1, Step.TRAINED, at=WHEN, why="b")

    assert [line.why for line in read_lines(workspace, "m")] == ["a", "b"]


@pytest.mark.parametrize("line", ["nonsense", "{}", "[]"])
def test_a_record_that_was_changed_is_not_built_upon(workspace, line):
    workspace.releases.mkdir()
    (workspace.releases / "retraining.jsonl").write_text(f"{line}\n")

    with pytest.raises(ReleaseError, match="was changed"):
        read_lines(workspace, "m")
