"""What ``add-source`` and ``share`` make of their words."""

import io
from pathlib import Path

import pytest
import typer

import knownat.stores.materialization as materialization
import knownat.stores.repo as stores
import knownat.stores.sharing as sharing
from knownat.stores import adding
from knownat.stores.adding import Added, NeedsAnswers
from knownat.stores.csv_times import TimeRules
from knownat.stores.sharing import Shared
from knownat.stores.source_commands import add_source, share

FILE = "customer_id,at,n\n7,2024-01-01 00:00:00,1\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "spend.csv"
    path.write_text(FILE)
    return path


@pytest.fixture
def added(monkeypatch):
    """Keep what is asked to be added, and add nothing."""
    requests = []

    def keep(repo, request):
        requests.append(request)
        return Added(
            view="ana_spend",
            owner="ana@example.org",
            keys={"customer_id": "int64"},
            features={"n": "Int64"},
            rows=1,
            event_time="at",
            known="1 d after 'at'",
            table=repo / "data" / "ana_spend.parquet",
            definition=repo / "added" / "ana_spend.py",
            remarks=("1 rows repeat another in every column and are kept once",),
        )

    monkeypatch.setattr(adding, "add_source", keep)
    return requests


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"rename": ["n"]}, "--rename n: write --rename COLUMN=VALUE"),
        ({"describe": ["n"]}, "--describe n: write --describe COLUMN=VALUE"),
        ({"column_type": ["n=text"]}, "--type 'text': there are ['int64', 'float64', 'bool', 'string']"),
        ({"known_after": "soon"}, "--known-after 'soon': write a span as 1d, 2h, 30m or 0s"),
        ({"known_after": "1w"}, "--known-after '1w': write a span as 1d, 2h, 30m or 0s"),
        ({"known_after": "d"}, "--known-after 'd': write a span as 1d, 2h, 30m or 0s"),
    ],
)
def test_words_that_cannot_be_followed_are_refused(file, added, options, told):
    with pytest.raises(typer.BadParameter) as refused:
        add_source(file, **options)
    assert (refused.value.message, added) == (told, [])


def test_every_option_says_what_it_says(file, added, capsys):
    add_source(
        file,
        Path("repo"),
        owner="ana@example.org",
        key=["customer_id"],
        known_after="90m",
        zone="UTC",
        column_type=["n=string"],
        rename=["n=count=of"],
        describe=["n=How many"],
        null=["NA"],
        separator="\\t",
        ttl="30d",
    )
    (request,) = added
    choices = request.choices
    assert (request.separator, request.nulls, request.ttl) == ("\t", ("NA",), "30d")
    assert request.descriptions == {"n": "How many"}
    assert (choices.keys, choices.known_after.total_seconds()) == (("customer_id",), 5_400)
    assert (choices.times, choices.types, choices.names) == (
        TimeRules(zone="UTC"),
        {"n": "string"},
        {"n": "count=of"},
    )
    printed = capsys.readouterr().out
    assert "ana_spend: 1 rows, private to ana@example.org" in printed
    assert "- keys: customer_id (int64)\n- event time: 'at'; known at: 1 d after 'at'\n" in printed
    assert "- joinable now; online after: knownat materialize --view ana_spend\n" in printed


def test_where_nobody_can_be_asked_the_options_are_named(file, tmp_path, monkeypatch):
    (tmp_path / "feature_store.yaml").write_text("project: shop\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("customer_id\nUTC\n"))
    with pytest.raises(NeedsAnswers) as asked:
        add_source(file, tmp_path, owner="ana@example.org")
    assert [question.option for question in asked.value.questions] == ["--key"]


@pytest.mark.parametrize(
    ("options", "done"),
    [
        ({}, []),
        ({"replaces": True}, [("clear", ["ana_spend"])]),
        ({"materializes": True}, [("materialize", ["ana_spend"])]),
        (
            {"replaces": True, "materializes": True},
            [("clear", ["ana_spend"]), ("materialize", ["ana_spend"])],
        ),
    ],
)
def test_rows_that_were_replaced_do_not_stay_online(file, added, monkeypatch, options, done):
    seen = []
    monkeypatch.setattr(stores, "open_repo", lambda path: path)
    monkeypatch.setattr(materialization, "clear_online", lambda repo, only: seen.append(("clear", only)))
    monkeypatch.setattr(
        materialization, "materialize", lambda repo, until, views: seen.append(("materialize", views))
    )
    add_source(file, owner="ana@example.org", **options)
    assert seen == done


@pytest.mark.parametrize(
    ("found", "printed", "code"),
    [
        (Shared("ana_spend", ()), "'ana_spend' is shared.\n", 0),
        (Shared("ana_spend", (), already=True), "'ana_spend' was shared before.\n", 0),
        (Shared("ana_spend", ("no [unit]",)), "'ana_spend' is not shared:\n- no [unit]\n", 1),
    ],
)
def test_sharing_says_what_became_of_it(monkeypatch, capsys, found, printed, code):
    monkeypatch.setattr(sharing, "share_view", lambda path, view, most_null: found)
    ended = 0
    try:
        share("ana_spend")
    except typer.Exit as exit_:
        ended = exit_.exit_code
    assert (capsys.readouterr().out, ended) == (printed, code)
