import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import typer
from typer.testing import CliRunner

import training.retraining
from knownat.clock import from_us
from knownat.contract.release import Deployed, Deployment, ModelDeployment, write_deployment
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError
from training.attempts import Outcome
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
def advanced(tmp_path, monkeypatch):
    """Two of three declared models serve; keep which of them are looked at, and refuse one."""
    made, seen = Workspace.at(tmp_path / "feature_repo"), []
    made.models.mkdir(parents=True)
    for name in ("kept", "refused", "unserved"):
        made.model_file(name).write_text("")
    serving = ModelDeployment(champion=Deployed(version="1", digest="a" * 64))
    write_deployment(made.deployment, Deployment(models={"kept": serving, "refused": serving}))

    def advance(workspace, model, ask, *, clock, progress):
        seen.append((model, ask.reason))
        return Outcome(model, told=[f"{model} was looked at"], refused=model == "refused")

    monkeypatch.setattr(training.retraining, "retrain", advance)
    return seen


@pytest.mark.parametrize(
    ("arguments", "seen", "code"),
    [
        ([], [("kept", None), ("refused", None)], 1),
        (["kept", "kept"], [("kept", None)], 0),
        (["kept", "--reason", "the timetable changed"], [("kept", "the timetable changed")], 0),
    ],
)
def test_models_that_serve_are_looked_at_once_each(tmp_path, advanced, arguments, seen, code):
    done = run(tmp_path, *arguments)

    assert (advanced, done.exit_code) == (seen, code)
    assert done.stdout.splitlines() == [f"{model}: {model} was looked at" for model, _ in seen]


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


def test_steps_written_at_one_time_lose_none_of_them(workspace):
    def write(number):
        append(workspace, f"m{number % 4}", 1, Step.ASKED, at=WHEN, why=f"reason {number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(80)))
    found = [line.why for model in range(4) for line in read_lines(workspace, f"m{model}")]
    assert sorted(found) == sorted(f"reason {number}" for number in range(80))


def test_before_the_first_step_there_is_no_line_and_no_attempt(workspace):
    assert read_lines(workspace, "m") == []
    refused = append(workspace, "m", 0, Step.REFUSED, at=WHEN, why="not now")
    assert last_attempt([refused]) == []


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


LINE = json.dumps(
    {"at": "2024-01-01", "who": "ada", "model": "m", "attempt": 1, "step": "asked", "why": "", "evidence": {}}
)


@pytest.mark.parametrize(
    "line", ["nonsense", "{}", "[]", LINE.replace("{}", "[]"), LINE.replace("asked", "guessed")]
)
def test_a_record_that_was_changed_is_not_built_upon(workspace, line):
    workspace.releases.mkdir()
    (workspace.releases / "retraining.jsonl").write_text(f"{line}\n")

    with pytest.raises(ReleaseError, match="was changed"):
        read_lines(workspace, "m")
