"""Training and promotion killed anywhere, and many at once: every list shows whole versions only."""

import random
import shutil
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from knownat.contract.deployment import read_history
from knownat.contract.release import Release, read_deployment, read_release
from knownat.contract.workspace import Workspace
from knownat.stores.pipelines import build_features
from knownat.stores.repo import apply_repo
from tests.faults.trainer import (
    DONE,
    MODEL,
    promote_when_told,
    publish_and_promote,
    started,
    train_and_promote,
)
from tests.soak import SOAKING, scale
from tests.training import shop
from training.overview import list_versions
from training.registry import Registry, synchronise
from training.versions import list_releases

pytestmark = pytest.mark.xdist_group("feast-training")
PROMOTERS = 8


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, dict[str, float]]:
    """A shop with one version that serves, and how long each stage of its training took."""
    repo = shop.copy_shop(tmp_path_factory.mktemp("shop"))
    build_features(repo)
    apply_repo(repo)
    child, told = started(train_and_promote, repo)
    begun = [(stage, time.monotonic()) for stage in stages(told)]
    child.join()
    assert begun[-1][0] == DONE
    lengths = {stage: until - since for (stage, since), (_, until) in pairwise(begun)}
    return Workspace.at(repo), lengths


@pytest.fixture
def workspace(template, tmp_path) -> Workspace:
    shutil.copytree(template[0].home, tmp_path / "home")
    return Workspace.at(tmp_path / "home" / "feature_repo")


def stages(told) -> Iterator[str]:
    try:
        while True:
            yield told.recv()
    except EOFError:
        return


def publish(workspace: Workspace, made: Release) -> list[Any]:
    """Let a process publish a copy of a release, promote and record it; return what it told."""
    child, told = started(publish_and_promote, workspace.repo, made.path, -1)
    everything = list(stages(told))
    child.join()
    assert child.exitcode == 0
    return everything


def check_whole_versions_only(workspace: Workspace) -> list[str]:
    """Whatever lists versions, and whatever serves, names releases of which every byte is right."""
    versions = [release.manifest.version for release in list_releases(workspace, MODEL)]
    assert [each.version for each in list_versions(workspace, MODEL)] == versions
    registered = Registry.open(workspace).versions(MODEL)
    assert registered == versions[: len(registered)]
    champion = read_deployment(workspace.deployment).models[MODEL].champion
    read_release(workspace.releases / MODEL / champion.version, digest=champion.digest)
    history = read_history(workspace)
    assert [line["number"] for line in history] == list(range(1, len(history) + 1))
    assert (history[-1]["version"], history[-1]["digest"]) == (champion.version, champion.digest)
    return versions


def check_that_it_goes_on(workspace: Workspace, made: Release) -> None:
    """The next run publishes, promotes, makes up for what was not recorded, and tidies up."""
    before = check_whole_versions_only(workspace)
    assert DONE in publish(workspace, made)
    after = check_whole_versions_only(workspace)
    assert after[:-1] == before
    assert sorted(p.name for p in (workspace.releases / MODEL).iterdir()) == after
    registry = Registry.open(workspace)
    assert registry.versions(MODEL) == after
    assert registry.unfinished(MODEL) == []
    assert registry.alias(MODEL, "champion") == after[-1]
    assert [v.version for v in list_versions(workspace, MODEL) if v.role == "champion"] == after[-1:]


@pytest.mark.parametrize("seed", range(scale(1, 20)))
def test_training_killed_at_any_time_leaves_whole_versions_and_goes_on(template, workspace, seed):
    dice, lengths = random.Random(seed), template[1]
    wanted = dice.choice(list(lengths))
    child, told = started(train_and_promote, workspace.repo)
    for stage in stages(told):
        if stage == wanted:
            time.sleep(dice.uniform(0, lengths[stage]))
            break
    child.kill()
    child.join()
    assert child.exitcode == -9
    check_that_it_goes_on(workspace, made=read_release(template[0].releases / MODEL / "1"))


def test_a_promotion_killed_before_any_operation_on_a_file_leaves_whole_versions_and_goes_on(
    template, workspace, tmp_path
):
    made = read_release(template[0].releases / MODEL / "1")
    operations = publish(workspace, made)[-1]
    # The last ones decide what serves.
    for dies_at in range(0, operations, 4) if SOAKING else [operations - 2]:
        home = shutil.copytree(template[0].home, tmp_path / f"killed_at_{dies_at}")
        copy = Workspace.at(home / "feature_repo")
        child, told = started(publish_and_promote, copy.repo, made.path, dies_at)
        assert DONE not in stages(told)
        child.join()
        assert child.exitcode == -9
        check_that_it_goes_on(copy, made)


def test_of_eight_processes_that_promote_at_one_time_each_finds_what_the_one_before_made(
    template, workspace, tmp_path
):
    made = read_release(template[0].releases / MODEL / "1")
    assert DONE in publish(workspace, made)
    go, turns = tmp_path / "go", scale(3, 5)
    versions = [["1", "2"][number % 2] for number in range(PROMOTERS)]
    children = [
        started(promote_when_told, workspace.repo, [version] * turns, go, whole=SOAKING)
        for version in versions
    ]
    assert [told.recv() for _, told in children] == ["ready"] * PROMOTERS
    go.touch()
    assert [list(stages(told))[-1] for _, told in children] == [DONE] * PROMOTERS
    for child, _ in children:
        child.join()
        assert child.exitcode == 0
    assert synchronise(workspace) is None
    check_whole_versions_only(workspace)
    history = read_history(workspace)
    assert len(history) == 2 + PROMOTERS * turns
    for before, line in pairwise(history):
        assert line["found_champion"] == before["version"]
    assert len({line["reason"] for line in history[2:]}) == PROMOTERS
    champion = str(history[-1]["version"])
    assert [v.version for v in list_versions(workspace, MODEL) if v.role == "champion"] == [champion]
    assert Registry.open(workspace).alias(MODEL, "champion") == champion
