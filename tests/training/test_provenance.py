import hashlib
import subprocess

import pytest

from training.provenance import code_commit, lock_digest


@pytest.fixture
def checkout(tmp_path):
    def git(*arguments):
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        done = subprocess.run(
            ["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "-m", "one")
    return tmp_path, git


def test_the_commit_is_the_one_git_names(checkout):
    folder, git = checkout
    (folder / "deep" / "repo").mkdir(parents=True)
    wanted = git("rev-parse", "HEAD")
    assert code_commit(folder / "deep" / "repo") == wanted
    git("pack-refs", "--all")
    assert code_commit(folder) == wanted
    git("checkout", "--quiet", "--detach")
    assert code_commit(folder) == wanted


def test_a_linked_worktree_has_a_commit_of_its_own(checkout, tmp_path_factory):
    folder, git = checkout
    other = tmp_path_factory.mktemp("linked") / "tree"
    git("worktree", "add", "--quiet", "-b", "side", str(other))
    git("commit", "--quiet", "--allow-empty", "-m", "two")
    assert code_commit(other) == git("rev-parse", "side") != code_commit(folder)


def test_no_checkout_is_said_to_be_unknown(tmp_path):
    assert code_commit(tmp_path) == "unknown"
    assert lock_digest(tmp_path) == "unknown"


def test_the_lock_is_the_nearest_one(tmp_path):
    (tmp_path / "requirements.lock").write_text("outer")
    (tmp_path / "repo").mkdir()
    assert lock_digest(tmp_path / "repo") == hashlib.sha256(b"outer").hexdigest()
