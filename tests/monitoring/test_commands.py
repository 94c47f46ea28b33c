import json

import pytest
import typer
from typer.testing import CliRunner

from knownat.clock import FileClock, to_us
from monitoring.commands import monitor
from tests.monitoring.shop_log import END, MODEL, make_spec


@pytest.fixture
def run(shop):
    clock = shop.workspace.home / "clock"
    FileClock(clock).move_to(to_us(END))

    def run(*arguments):
        app = typer.Typer()
        app.command()(monitor)
        given = [
            MODEL,
            "--job",
            "judge",
            "--job",
            "pages",
            "--repo",
            str(shop.workspace.repo),
            "--clock",
            f"file:{clock}",
            *arguments,
        ]
        return CliRunner().invoke(app, given, env={"COLUMNS": "200"})

    return run


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--start", "2024-03-04"], "both --start and --end"),
        (["--start", "yesterday", "--end", "2024-03-05"], "'yesterday' is not a time"),
        (["--start", "2024-03-05", "--end", "2024-03-04"], "not after its start"),
        (["--clock", "sundial"], "'sundial' names no clock"),
    ],
)
def test_a_command_that_cannot_be_followed_is_refused_with_the_reason(run, arguments, says):
    done = run(*arguments)

    assert done.exit_code == 2
    assert says in done.output


def test_without_a_window_the_due_ones_are_judged(run, shop):
    spec = make_spec()
    (shop.workspace.models / f"{MODEL}.sql").write_text("select 1")
    shop.workspace.model_file(MODEL).write_text(
        f'name = "{MODEL}"\ndescription = "d"\nowner = "{spec.owner}"\nrunbook = "r"\ntask = "binary"\n'
        f'feature_service = "{MODEL}"\nmetric = "auc"\n[examples]\nsql = "{MODEL}.sql"\n'
        'keys = {customer_id = "int64"}\n[time]\ncutoff = 2024-03-01T00:00:00Z\nvalidation_days = 1\n'
        "gap_hours = 1\ntest_days = 1\n"
    )

    done = run("--json")

    assert done.exit_code == 0
    (model,) = json.loads(done.stdout)["models"]
    ends = [window["end"] for window in model["windows"]]
    assert ends == ["2024-03-03T00:00:00Z", "2024-03-05T00:00:00Z"]
    assert "Watch" in (shop.workspace.reports / "index.html").read_text()


def test_people_get_a_table_and_the_way_to_the_index(run, shop):
    done = run("--start", "2024-03-04T00:00:00+00:00", "--end", "2024-03-05")

    assert done.exit_code == 0
    assert "no prediction was logged" in " ".join(done.stdout.split())
    assert f"Open {shop.workspace.reports / 'index.html'}" in done.stdout
