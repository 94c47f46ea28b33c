from datetime import UTC, datetime

import pytest
import typer
from typer.testing import CliRunner

from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError
from monitoring.incident_commands import incident
from monitoring.incidents import Incident, mark_incident, read_incidents

STORM = Incident(
    start=datetime(2013, 11, 27, 12, tzinfo=UTC),
    end=datetime(2013, 11, 28, tzinfo=UTC),
    models=("late_arrival",),
    text='Ice "storm"\\\nat Zürich',
)


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    workspace = Workspace.at(tmp_path / "feature_repo")
    workspace.repo.mkdir()
    return workspace


def test_what_is_marked_is_read_back_and_what_was_written_by_hand_stays(workspace):
    path = workspace.repo / "incidents.toml"
    path.write_text('# by hand\n[[incident]]\nstart = 2013-12-01T00:00:00Z\ntext = "later"')

    assert mark_incident(workspace, STORM) == path

    assert path.read_text().startswith("# by hand\n")
    found = read_incidents(workspace)
    assert found[0] == STORM
    assert [each.text for each in found[1:]] == ["later"]
    assert (found[0].concerns("minutes_late"), found[1].concerns("minutes_late")) == (False, True)


def test_every_problem_is_told_at_once_and_nothing_is_added(workspace):
    path = workspace.repo / "incidents.toml"
    path.write_text(
        "[[incident]]\nstart = 2013-12-01T00:00:00\ntext = 'x'\n"
        "[[incident]]\nstart = 2013-12-01T00:00:00Z\n[owner]\n"
    )
    before = path.read_bytes()

    with pytest.raises(ConfigError) as caught:
        mark_incident(workspace, STORM)

    assert len(caught.value.problems) == 3
    assert "'owner' is unknown" in caught.value.problems[0]
    assert path.read_bytes() == before


def run(workspace, *arguments):
    app = typer.Typer()
    app.command()(incident)
    return CliRunner().invoke(app, [*arguments, "--repo", str(workspace.repo)])


def test_the_command_marks_one(workspace):
    done = run(workspace, "Storm", "--start", "2013-11-27T12:00:00Z", "--model", "late_arrival")

    assert done.exit_code == 0
    assert read_incidents(workspace)[0].models == ("late_arrival",)
    assert (workspace.reports / "index.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["Storm", "--start", "yesterday"], "'yesterday' is not a time"),
        (["Storm", "--start", "2013-11-28", "--end", "2013-11-27"], "not after its start"),
        (["", "--start", "2013-11-28"], "at least 1 character"),
    ],
)
def test_what_is_no_incident_is_refused(workspace, arguments, told):
    done = run(workspace, *arguments)

    assert done.exit_code == 2
    assert told in " ".join(done.output.split())
    assert not (workspace.repo / "incidents.toml").exists()
