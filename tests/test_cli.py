import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_help_names_every_command_and_what_it_does(run_knownat):
    done = run_knownat("--help", env={"COLUMNS": "200", "PATH": "/usr/bin"})

    assert done.returncode == 0
    for command in ("apply", "doctor", "features", "materialize", "monitor", "score", "serve", "train"):
        assert f"│ {command} " in done.stdout
    assert "cannot be found" not in done.stdout
    assert "Look for what can be silently wrong" in done.stdout


def test_the_help_of_a_command_flows_at_any_width_and_keeps_its_brackets(run_knownat):
    done = run_knownat("retrain", "--help", env={"COLUMNS": "160", "PATH": "/usr/bin"})

    lines = [line.strip() for line in done.stdout.splitlines()]
    assert (
        "The cutoff moves to the newest for which the test's answers are known. What passes its gates "
        "answers in shadow; once enough of its answers have labels it is"
    ) in lines
    assert "promoted as the model's [retraining] says" in done.stdout.replace("\n ", "")
    assert "Exit code 1: a gate, the comparison or a rule said no. Exit code 2: an error." in lines


def test_help_imports_none_of_the_programs():
    code = (
        "import sys\nfrom knownat.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'feast', 'pandas', 'polars', 'lightgbm', 'evidently', 'fastapi'}\n"
        "heavy |= {'training.commands', 'serving.commands', 'monitoring.commands'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_an_error_is_one_clear_line_and_exit_code_2(run_knownat, tmp_path):
    done = run_knownat("doctor", "--repo", str(tmp_path))

    assert done.returncode == 2
    assert done.stdout == ""
    assert (
        done.stderr == f"knownat: {tmp_path} has no feature_store.yaml. Name the feature repo with --repo.\n"
    )


def test_an_unknown_command_is_exit_code_2(run_knownat):
    assert run_knownat("nosuch").returncode == 2


def test_a_time_without_a_zone_is_refused(run_knownat, tmp_path):
    done = run_knownat("materialize", "--repo", str(tmp_path), "--until", "2013-10-15T00:00:00")

    assert done.returncode == 2
    assert "has no time zone" in done.stderr


def test_only_the_clock_reads_the_wall_clock():
    readers = {
        ("time", "time"),
        ("time", "time_ns"),
        ("datetime", "now"),
        ("datetime", "utcnow"),
        ("date", "today"),
    }
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for package in ("knownat", "training", "serving", "monitoring")
        for path in (ROOT / package).rglob("*.py")
        if path != ROOT / "knownat" / "clock.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in readers
    ]

    assert found == []


def test_no_lint_or_type_rule_is_switched_off_inside_a_file():
    switches = ("# no" + "qa", "# type" + ": ignore", "# py" + "right:", "# ruff" + ": noqa", "# my" + "py:")
    found = [
        f"{path.relative_to(ROOT)}: {switch}"
        for folder in ("knownat", "training", "serving", "monitoring", "tests", "feature_repo")
        for path in (ROOT / folder).rglob("*.py")
        for switch in switches
        if switch in path.read_text()
    ]

    assert found == []


def test_no_module_is_longer_than_400_lines():
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in ("knownat", "training", "serving", "monitoring", "tests", "feature_repo")
        for path in (ROOT / folder).rglob("*.py")
        if (lines := path.read_text().count("\n")) > 400
    }

    assert long == {}
