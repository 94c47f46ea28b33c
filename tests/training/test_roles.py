from datetime import UTC, datetime

import pytest

from knownat.contract.deployment import read_history
from knownat.contract.prediction_log import Role
from knownat.contract.release import Deployed, Deployment, ModelDeployment, write_deployment
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError
from training.roles import role_of, roles, what_serves, withdraw_shadow


def version(name):
    return Deployed(version=name, digest=name * 64)


SERVING = ModelDeployment(
    champion=version("1"),
    challenger=version("2"),
    shadow=(version("3"), version("4")),
    pinned=(version("5"),),
    retired=("6",),
)


def test_every_version_that_serves_has_one_role_and_the_champion_is_named_first():
    assert [(str(role), each.version) for role, each in roles(SERVING)] == [
        ("champion", "1"),
        ("challenger", "2"),
        ("shadow", "3"),
        ("shadow", "4"),
        ("pinned", "5"),
    ]
    assert [each for _, each in roles(SERVING)] == list(SERVING.serving)


def test_a_retired_version_and_one_that_never_served_have_no_role():
    assert role_of(SERVING, "4") is Role.SHADOW
    assert role_of(SERVING, "6") is None
    assert role_of(SERVING, "7") is None


@pytest.mark.parametrize("name", ["1", "2", "5", "6", "7"])
def test_only_a_shadow_is_withdrawn(tmp_path, name):
    workspace = Workspace.at(tmp_path / "feature_repo")
    write_deployment(workspace.deployment, Deployment(models={"late": SERVING}))
    withdraw_shadow(workspace, "late", name, reason="it is worse", when=datetime(2024, 3, 1, tzinfo=UTC))
    assert what_serves(workspace, "late") == SERVING
    assert read_history(workspace) == []


def test_a_withdrawn_shadow_leaves_a_line_of_history(tmp_path):
    workspace = Workspace.at(tmp_path / "feature_repo")
    write_deployment(workspace.deployment, Deployment(models={"late": SERVING}))
    withdraw_shadow(workspace, "late", "4", reason="it is worse", when=datetime(2024, 3, 1, tzinfo=UTC))
    assert [each.version for each in what_serves(workspace, "late").shadow] == ["3"]
    (line,) = read_history(workspace)
    assert (line["role"], line["version"], line["reason"]) == ("retired", "4", "it is worse")


def test_where_nothing_serves_it_is_said_what_to_do(tmp_path):
    with pytest.raises(ReleaseError, match="Run `knownat train late_arrival`"):
        what_serves(Workspace.at(tmp_path / "feature_repo"), "late_arrival")
