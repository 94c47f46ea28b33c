"""``knownat log prune``: which moment it takes, and how it speaks up for rows that must stay."""

import pytest

from knownat.cli import main
from knownat.clock import FileClock, to_us
from tests.serving.test_retention import NOW, Logs


@pytest.fixture
def logs(tmp_path):
    return Logs(tmp_path)


def prune(capsys, logs, *words):
    """Run it at the logs' time; return its exit code and what it printed."""
    clock = logs.workspace.home / "clock"
    FileClock(clock).move_to(to_us(NOW))
    command = ["log", "prune", "--repo", str(logs.workspace.repo), "--clock", f"file:{clock}", *words]
    with pytest.raises(SystemExit) as ended:
        main(command)
    printed = capsys.readouterr()
    return ended.value.code or 0, printed.out + printed.err


def test_rows_that_a_living_writer_holds_stay_and_are_spoken_up_for(capsys, logs):
    logs.segment("basket", [400])
    writing = logs.journal("basket", [390, 5])

    code, said = prune(capsys, logs, "--days", "365")

    assert (code, logs.held("basket")) == (1, [5, 390])
    assert "1 more are in 1 journals that are not sealed, and stay for now." in said
    writing.rotate()
    assert prune(capsys, logs, "--days", "365")[0] == 0
    assert logs.held("basket") == [5]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--before", "2024-01-01T00:00:00"], "has no time zone; add Z for UTC"),
        (["--before", "last year"], "is not a time; write 2024-01-01T00:00:00Z"),
        (["--days", "3", "--before", "2024-01-01T00:00:00Z"], "give either --days or --before"),
        (["--days", "3", "--clock", "sundial"], "sundial"),
    ],
)
def test_a_moment_that_is_none_takes_nothing(capsys, logs, words, says):
    logs.segment("basket", [400])

    code, said = prune(capsys, logs, *words)

    assert (code, logs.held("basket")) == (2, [400])
    assert says in said
