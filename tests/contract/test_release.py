import json
import subprocess
import sys
from pathlib import Path

import pytest

from knownat.contract.release import (
    Deployed,
    Deployment,
    ModelDeployment,
    publish_release,
    read_deployment,
    read_release,
    stage_release,
    write_deployment,
)
from knownat.errors import ReleaseError
from tests.scoring.small_release import PLAN, SOURCE, manifest, publish_small


def test_what_is_published_is_read_back(tmp_path):
    made = publish_small(tmp_path)
    release = read_release(made.path, digest=made.digest)
    assert release.manifest == made.manifest
    assert release.plan == PLAN
    assert release.transform_sources() == {"transforms/load.py": SOURCE}
    assert sorted(p.name for p in made.path.parent.iterdir()) == ["1"]


@pytest.mark.parametrize("name", ["model.txt", "golden.parquet", "transforms/load.py", "read_plan.json"])
def test_one_changed_byte_is_refused_by_name(tmp_path, name):
    made = publish_small(tmp_path)
    content = bytearray((made.path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (made.path / name).write_bytes(content)
    with pytest.raises(ReleaseError, match=f"{name} was changed"):
        read_release(made.path)
    with pytest.raises(ReleaseError, match=f"{name} was changed"):
        made.read_bytes(name)


def test_a_file_that_went_after_it_was_read_is_refused_by_name(tmp_path):
    made = publish_small(tmp_path)
    (made.path / "model.txt").unlink()

    with pytest.raises(ReleaseError, match=r"model\.txt cannot be read: .* Restore the release\."):
        made.read_bytes("model.txt")


def test_a_changed_manifest_is_not_the_deployed_one(tmp_path):
    made = publish_small(tmp_path)
    file = made.path / "manifest.json"
    file.write_text(file.read_text().replace('"training_rows": 400', '"training_rows": 401'))
    with pytest.raises(ReleaseError, match="changed after promotion"):
        read_release(made.path, digest=made.digest)


def test_missing_and_foreign_files_are_named(tmp_path):
    path = publish_small(tmp_path).path
    (path / "golden.parquet").rename(path / "silver.parquet")
    with pytest.raises(ReleaseError, match=r"golden\.parquet.*silver\.parquet"):
        read_release(path)


def test_a_file_that_the_manifest_does_not_name_is_refused(tmp_path):
    release = publish_small(tmp_path)
    with pytest.raises(ReleaseError, match=r"the manifest names no file 'more\.txt'"):
        release.read_bytes("more.txt")
    (release.path / "more.txt").write_text("more")
    with pytest.raises(ReleaseError, match=r"more\.txt"):
        read_release(release.path)


@pytest.mark.parametrize("content", [None, "", "{}", "not JSON", '{"format": 2}'])
def test_an_unreadable_manifest_is_an_error_with_a_next_step(tmp_path, content):
    path = publish_small(tmp_path).path
    (path / "manifest.json").unlink()
    if content is not None:
        (path / "manifest.json").write_text(content)
    with pytest.raises(ReleaseError, match=r"cannot be read.*Train the model again"):
        read_release(path)


def test_a_release_is_never_replaced(tmp_path):
    made = publish_small(tmp_path)
    with pytest.raises(ReleaseError, match="a release never changes"):
        publish_small(tmp_path, training_rows=1)
    assert read_release(made.path).digest == made.digest


def test_a_failed_build_leaves_nothing(tmp_path):
    folder = tmp_path / "late_parcel" / "1"

    def build():
        with stage_release(folder) as staged:
            (staged / "model.txt").write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        build()
    assert list(folder.parent.iterdir()) == []


# Publishes in a forked child that kills itself at its nth file operation, for every n there is.
PUBLISH_AND_DIE = """
import os, signal, sys
from pathlib import Path
from knownat.contract.release import publish_release, stage_release
from tests.scoring.small_release import manifest

WATCHED = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}

def publish(target):
    with stage_release(target) as staged:
        for part in ("a", "b", "c"):
            (staged / part).write_text(part)
        publish_release(staged, target, manifest("1"))

def die_at(step):
    left = [step]
    def hook(event, _):
        if event in WATCHED:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

publish(Path(sys.argv[1]) / "warm" / "1")
for step in range(1, 200):
    child = os.fork()
    if child == 0:
        die_at(step)
        publish(Path(sys.argv[1]) / str(step) / "1")
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        print(step)
        break
"""


def test_a_publisher_killed_at_any_file_operation_leaves_a_whole_release_or_none(tmp_path):
    command = [sys.executable, "-c", PUBLISH_AND_DIE, str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    steps = int(done.stdout)
    whole = [step for step in range(1, steps + 1) if (tmp_path / str(step) / "1").exists()]
    for step in whole:
        assert read_release(tmp_path / str(step) / "1").read_bytes("c") == b"c"
    # Killed late enough, it is there; killed early, it is not; never in between and back.
    assert steps > 10
    assert whole == list(range(whole[0], steps + 1))
    assert 5 < whole[0] <= steps


def test_a_release_is_not_visible_before_its_manifest_is_whole(tmp_path):
    folder = tmp_path / "late_parcel" / "1"
    with stage_release(folder) as staged:
        (staged / "model.txt").write_text("tree")
        assert not folder.exists()
        release = publish_release(staged, folder, manifest())
    assert list(release.manifest.files) == ["model.txt"]


DEPLOYMENT = Deployment(models={"m": ModelDeployment(champion=Deployed(version="1", digest="a" * 64))})


def test_a_deployment_is_replaced_whole(tmp_path):
    path = tmp_path / "releases" / "deployment.json"
    assert read_deployment(path) == Deployment()
    write_deployment(path, Deployment())
    write_deployment(path, DEPLOYMENT)
    assert read_deployment(path) == DEPLOYMENT
    assert [p.name for p in path.parent.iterdir()] == ["deployment.json"]
    assert json.loads(path.read_text())["models"]["m"]["champion"]["version"] == "1"


@pytest.mark.parametrize("share", ["-0.1", "1.1", "NaN"])
def test_a_share_that_is_none_is_no_deployment(tmp_path, share):
    path = tmp_path / "deployment.json"
    write_deployment(path, DEPLOYMENT)
    path.write_text(path.read_text().replace('"challenger_share": 0.1', f'"challenger_share": {share}'))

    with pytest.raises(ReleaseError, match="Promote a version again"):
        read_deployment(path)


def test_an_unreadable_deployment_is_no_empty_one(tmp_path):
    path = tmp_path / "deployment.json"
    path.write_text("")
    with pytest.raises(ReleaseError, match="Promote a version again"):
        read_deployment(path)
