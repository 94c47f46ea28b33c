import subprocess
import sys
from pathlib import Path

import pytest

from knownat.contract.staging import stage_folder

_KILLED = """
import os, signal, sys
from pathlib import Path
from knownat.contract.staging import stage_folder
with stage_folder(Path(sys.argv[1])) as staged:
    (staged / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def staged_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.is_dir()]


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    done = subprocess.run([sys.executable, "-c", _KILLED, tmp_path / "7"], check=False)
    assert done.returncode == -9
    (left,) = staged_in(tmp_path)
    with stage_folder(tmp_path / "8") as staged:
        assert staged_in(tmp_path) == [staged.name]
    assert staged.name != left
    assert staged_in(tmp_path) == []


def test_what_somebody_fills_stays(tmp_path):
    with stage_folder(tmp_path / "7") as first, stage_folder(tmp_path / "8") as second:
        assert sorted(staged_in(tmp_path)) == sorted([first.name, second.name])
        first.rename(tmp_path / "7")
        with stage_folder(tmp_path / "9") as third:
            assert sorted(staged_in(tmp_path)) == sorted(["7", second.name, third.name])


def test_folders_of_other_names_are_nobodys_leavings(tmp_path):
    for name in (".git", "7", ".7.backup", "8.0a1b2c3d"):
        (tmp_path / name).mkdir()
    with stage_folder(tmp_path / "9") as staged:
        pass
    assert sorted(staged_in(tmp_path)) == sorted([".git", "7", ".7.backup", "8.0a1b2c3d"])
    assert not staged.exists()


def test_a_caller_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), stage_folder(tmp_path / "7"):
        raise KeyError("half")
    assert staged_in(tmp_path) == []
