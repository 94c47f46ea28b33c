"""What ``tune`` and ``worth`` print, over a small shop through Feast."""

import json

import pytest
import typer
from rich.console import Console

import training.tuning
from knownat.contract.workspace import Workspace
from knownat.stores.pipelines import build_features
from knownat.stores.repo import apply_repo
from tests.training import shop
from training.leads import Lead
from training.options import stages
from training.tune_commands import tune
from training.tuning import Tuned
from training.upkeep import Upkeep
from training.worth import Worth, Worths
from training.worth_commands import show_worths, worth

pytestmark = pytest.mark.xdist_group("feast-training")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    repo = shop.copy_shop(tmp_path_factory.mktemp("shop"))
    build_features(repo)
    apply_repo(repo)
    return Workspace.at(repo)


def test_both_commands_read_the_repo_and_answer_in_json(workspace, capsys):
    tune("return_soon", workspace.repo, trials=2, folds=1, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["model"], found["metric"], found["trials"]) == ("return_soon", "auc", 2)
    assert len(found["declared"]) == len(found["best"]) == 1
    assert (workspace.home / "tuning" / "return_soon.db").is_file()
    worth("return_soon", workspace.repo, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert {group["name"] for group in found["groups"]} == {"customer_orders", "order_pace"}


FOUND = Tuned(
    model="return_soon",
    metric="auc",
    direction="higher",
    trials=8,
    pruned=3,
    declared=(0.774, 0.780),
    best=(0.777, 0.785),
    params={"num_leaves": 87},
    study="return_soon-1 in x.db",
)


@pytest.fixture
def searching(monkeypatch):
    """Let the search end as it is told to."""

    def end(answer):
        def search(*arguments, **options):
            if isinstance(answer, BaseException):
                raise answer
            return answer

        monkeypatch.setattr(training.tuning, "tune", search)

    return end


def test_what_is_better_is_shown_with_the_patch_that_declares_it(workspace, searching, capsys, tmp_path):
    searching(FOUND)
    tune("return_soon", workspace.repo, patch=tmp_path / "new" / "tuned.diff")
    printed = capsys.readouterr().out
    assert "8 trials, 3 given up early" in printed
    assert "│ declared    │ 0.7740 │ 0.7800 │ 0.7770 │" in printed
    assert "│ best        │ 0.7770 │ 0.7850 │ 0.7810 │" in printed
    assert "[lightgbm.params]\nnum_leaves = 87\n" in printed
    assert f"To declare it: patch -p1 -d {workspace.repo} < {tmp_path}/new/tuned.diff\n" in printed
    assert "+num_leaves = 87\n" in (tmp_path / "new" / "tuned.diff").read_text()
    tune("return_soon", workspace.repo)
    assert "+num_leaves = 87\n" in capsys.readouterr().out


def test_where_nothing_is_better_nothing_is_written(workspace, searching, capsys, tmp_path):
    searching(Tuned(**{**vars(FOUND), "best": FOUND.declared}))
    tune("return_soon", workspace.repo, patch=tmp_path / "tuned.diff")
    assert "Nothing was found that does better than what is declared." in capsys.readouterr().out
    assert not (tmp_path / "tuned.diff").exists()


def test_a_search_that_is_stopped_says_that_it_can_go_on(workspace, searching, capsys):
    searching(KeyboardInterrupt())
    with pytest.raises(typer.Exit) as ended:
        tune("return_soon", workspace.repo)
    assert ended.value.exit_code == 130
    assert "Stopped. What was tried is kept: the same command goes on from there." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("terminal", "lines"), [("", ["join", "trial 1 of 2", "trial 2 of 2"]), ("1", [])], ids=["none", "one"]
)
def test_without_a_terminal_each_stage_is_a_line_of_the_log(caplog, monkeypatch, terminal, lines):
    monkeypatch.setenv("FORCE_COLOR", terminal)
    caplog.set_level("INFO")
    with stages() as report:
        for stage, done in (("join", 0), ("trial 1 of 2", 0), ("trial 1 of 2", 1), ("trial 2 of 2", 1)):
            report(stage, done, 2)
    assert caplog.messages == lines


def group(name, low, high, *, us):
    return Worth(name, (name,), Lead((low + high) / 2, low, high), Upkeep(80, us))


def printed(*groups):
    console = Console(width=100)
    with console.capture() as caught:
        show_worths(console, Worths("return_soon", "auc", 0.7556, 23_930, groups))
    return [line.rstrip() for line in caught.get().splitlines()]


def test_what_earns_nothing_is_listed_last_with_its_cost():
    orders, pace = group("orders", 0.002, 0.004, us=1), group("pace", -0.001, 0.003, us=2)
    lines = printed(orders, pace, group("visits", -0.003, -0.001, us=9))
    assert lines[0] == "return_soon: auc 0.7556 on 23,930 questions"
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert rows == [
        ["orders", "+0.0030", "+0.0020 .. +0.0040", "80", "1.00"],
        ["visits", "-0.0020", "-0.0030 .. -0.0010", "80", "9.00"],
        ["pace", "+0.0010", "-0.0010 .. +0.0030", "80", "2.00"],
    ]
    assert [line[0] for line in lines if line][4:6] == ["│", "├"]
    assert lines[-2].startswith(
        "Of the 2 listed last, of 3, no gain can be told from nothing; the dearest come"
    )
    assert lines[-1] == "The model is better without visits."


def test_where_all_earn_it_is_said():
    assert printed(group("orders", 0.002, 0.004, us=1))[-1] == "Each of the 1 earns something."
