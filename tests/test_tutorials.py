"""The tutorials, run as they are written: a page that no longer tells the truth fails here."""

import contextlib
import io
from pathlib import Path

import pytest

from knownat.cli import main
from tests.tutorial import File, Step, missing, steps

PAGES = sorted((Path(__file__).parents[1] / "docs" / "tutorial").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_does_what_it_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = 0
    for step in steps(page):
        if isinstance(step, File):
            path = tmp_path / step.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(step.content, encoding="utf-8")
            continue
        code, output = _run(step, tmp_path)
        assert code in (0, 1), output
        assert missing(step, output) == [], output
        ran += 1
    assert ran > 1


def _run(step: Step, folder: Path) -> tuple[object, str]:
    """Run a command in this process, which has imported Feast once for all of them."""
    program, *arguments = step.command
    if program == "cat":
        return 0, (folder / arguments[0]).read_text()
    assert program == "knownat"
    said = io.StringIO()
    with (
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
        pytest.raises(SystemExit) as ended,
    ):
        main(arguments)
    return ended.value.code, said.getvalue()


def test_a_promise_that_is_not_kept_is_named():
    step = Step(["knownat"], ["│ a │ 1 │", "done"])
    assert missing(step, "│ a    │  1 │\ndone\n") == []
    assert missing(step, "done\n│ a │ 1 │\n") == ["done"]
    assert missing(step, "│ a │ 2 │\ndone\n") == ["│ a │ 1 │", "done"]
