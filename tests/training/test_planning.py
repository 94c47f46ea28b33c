"""Whom a change reaches, whether it breaks, and which releases are asked again because of it."""

import io

import pytest
import typer
from rich.console import Console

from knownat.contract.prediction_log import Role
from knownat.contract.release import Deployed, Deployment, ModelDeployment, write_deployment
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError
from knownat.stores.definition_changes import BREAKING, SILENT, Change, What
from knownat.stores.outlines import Outline, ServiceOutline, ViewOutline
from tests.scoring.small_release import publish_small
from training.plan_commands import plan
from training.plan_tables import render_markdown, show_plan
from training.planning import Plan, Reach, Touched, changed_tables, releases_to_ask
from training.touching import Served, served_releases


def view(name, **options):
    source = {"path": f"data/{options.pop('table', name)}.parquet"}
    return ViewOutline(name=name, kind="feature view", fields={"count": "Int64"}, source=source, **options)


DEPOT, TRUCK = view("depot", owner="depots@example.org"), view("truck", owner="trucks@example.org")
LATE = ServiceOutline(
    name="late_parcel", owner="service@example.org", columns=(), views=frozenset({"depot", "load"})
)
LOST = ServiceOutline(name="lost_parcel", columns=(), views=frozenset({"truck"}))
WORLD = Outline({"depot": DEPOT, "truck": TRUCK}, {"late_parcel": LATE, "lost_parcel": LOST})
MODELS = {
    "late_parcel": {"late_parcel": "parcels@example.org", "late_by": "delays@example.org"},
    "lost_parcel": {"lost_parcel": "lost@example.org"},
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    release = publish_small(tmp_path_factory.mktemp("releases"))
    return [Served(release, Role.CHAMPION, release.plan), Served(release, Role.SHADOW, release.plan)]


def reach(served, *allowed):
    return Reach(served, WORLD, WORLD, MODELS, frozenset(allowed))


def test_everybody_who_reads_what_changed_is_told(served):
    found = reach(served).touch(Change(What.TTL, "depot", before="1 d", after="12 h"))
    assert found.releases == ("late_parcel 1 (champion)", "late_parcel 1 (shadow)")
    assert (found.services, found.models) == (("late_parcel",), ("late_by", "late_parcel"))
    assert found.owners == (
        "delays@example.org",
        "depots@example.org",
        "parcels@example.org",
        "service@example.org",
    )


def test_what_no_release_reads_breaks_nothing(served):
    found = reach(served).touch(Change(What.VIEW_REMOVED, "truck"))
    assert (found.breaks, found.releases) == (False, ())
    assert found.owners == ("lost@example.org", "trucks@example.org")


@pytest.mark.parametrize("what", What)
def test_only_breaking_kinds_break_and_only_what_was_allowed_may(served, what):
    change = Change(what, "late_parcel" if Change(what, "").of_service else "depot")
    found = reach(served, What.TTL, What.BODY).touch(change)
    assert found.breaks is (what in BREAKING)
    assert found.allowed is (what in (What.TTL, What.BODY))


@pytest.mark.parametrize("what", What)
def test_a_release_is_asked_again_unless_the_change_is_silent(served, what):
    change = Change(what, "late_parcel" if Change(what, "").of_service else "depot")
    assert releases_to_ask(served, [change]) == ([] if what in SILENT else served)
    assert releases_to_ask(served, [Change(what, "truck")]) == []


def test_a_table_that_is_made_otherwise_changes_the_views_of_both_worlds_that_read_it():
    before = Outline({v.name: v for v in (DEPOT, TRUCK, view("old", table="depot"))}, {})
    after = Outline({v.name: v for v in (DEPOT, TRUCK, view("new", table="depot"))}, {})
    assert changed_tables({"depot": ("aa", "bb"), "unread": ("cc", "dd")}, before, after) == [
        Change(What.TABLE, "depot", before="aa", after="bb")
    ]


def test_every_release_that_answers_is_read_by_its_digest(tmp_path):
    workspace = Workspace.at(tmp_path / "feature_repo")
    made = {version: publish_small(workspace.releases, version).digest for version in "1234"}
    one, two, three, four = (Deployed(version=v, digest=d) for v, d in made.items())
    serving = ModelDeployment(champion=two, challenger=one, shadow=(three,), pinned=(four,))
    write_deployment(workspace.deployment, Deployment(models={"late_parcel": serving}))
    assert [each.title for each in served_releases(workspace)] == [
        "late_parcel 2 (champion)",
        "late_parcel 1 (challenger)",
        "late_parcel 3 (shadow)",
        "late_parcel 4 (pinned)",
    ]
    changed = serving.model_copy(update={"shadow": (Deployed(version="3", digest="0" * 64),)})
    write_deployment(workspace.deployment, Deployment(models={"late_parcel": changed}))
    with pytest.raises(ReleaseError, match="digest"):
        served_releases(workspace)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"allow": ["owner"]}, "['owner'] are no breaking changes; there are ['view removed', "),
        ({"until": "soon"}, "'soon' is not a time; write 2013-10-15T00:00:00Z"),
        ({"until": "2013-11-01"}, "'2013-11-01' has no time zone; write 2013-11-01T00:00:00Z for UTC"),
    ],
)
def test_words_that_cannot_be_followed_are_refused(tmp_path, options, told):
    with pytest.raises(typer.BadParameter) as refused:
        plan(tmp_path, **options)
    assert told in refused.value.message


def shown(found):
    console = Console(width=100, record=True, file=io.StringIO())
    show_plan(console, found)
    return [line.rstrip() for line in console.export_text().splitlines()]


def touched(what, *, breaks, allowed=False, releases=("late_parcel 1 (champion)",)):
    change = Change(what, "depot", before="x" * 100, after="")
    return Touched(change, releases, (), (), (), breaks, allowed)


def test_a_terminal_shows_what_breaks_what_was_allowed_and_why():
    lines = shown(Plan((touched(What.TTL, breaks=True), touched(What.TYPE, breaks=True, allowed=True))))
    assert lines[0] == "2 changes, which break late_parcel 1 (champion)"
    assert lines[1] == f"breaks  depot: ttl, {'x' * 79}… -> none"
    assert lines[3].startswith("allowed depot: type, ")
    assert "  ttl: the release serves with its own; training, reproduction and skew go by this one." in lines


def test_a_terminal_says_when_nothing_breaks_or_changes():
    assert shown(Plan()) == ["nothing changes"]
    one = Plan((touched(What.OWNER, breaks=False, releases=()),))
    assert shown(one)[0] == "1 change; nothing that serves breaks"
    assert shown(one)[2].strip() == "nobody reads it"
    assert "### Plan: 1 change; nothing that serves breaks" in render_markdown(one).splitlines()
