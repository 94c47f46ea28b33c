"""A CSV added to a repo: a table and a definition that reads like one, or nothing at all."""

import io
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from knownat.errors import ConfigError, RepoError
from knownat.stores.added_definition import find_entities, mark_shared
from knownat.stores.added_source import Choices, Question
from knownat.stores.adding import NeedsAnswers, Request, add_source
from knownat.stores.csv_times import TimeRules
from knownat.stores.source_commands import answered, ask
from tests.stores import shop

REGISTERED: list[Path] = []
FILE = """customer_id,at,Spend EUR,points
7,2024-01-01T00:00:00Z,1.5,9007199254740993
7,2024-01-02T00:00:00Z,,2
"""
DEFINITION = '''"""Values of spend.csv, added by ana@example.org.
"""

from datetime import timedelta

from entities import customer
from feast import FeatureView, Field, FileSource
from feast.types import Float64, Int64

ana_spend_table = FileSource(
    name="ana_spend",
    path="data/ana_spend.parquet",
    timestamp_field="event_timestamp",
    description="Rows of spend.csv, sha256 fab7e77d8e89fee2. "
    "No column says when a row became known: each is taken as known when it happened.",
    owner="ana@example.org",
)

ana_spend = FeatureView(
    name="ana_spend",
    entities=[customer],
    # How long a value stays true was not said, so it does until the next one.
    ttl=timedelta(0),
    schema=[
        Field(name="spend_eur", dtype=Float64, description="'Paid', in EUR", tags={"column": "Spend EUR"}),
        Field(name="points", dtype=Int64),
    ],
    source=ana_spend_table,
    description="",
    owner="ana@example.org",
    tags={
        "sharing": "private",
        "added_from": "spend.csv",
    },
)
'''


def register(repo: Path) -> None:
    """Stand in for the registry: applying takes a process of its own."""
    REGISTERED.append(repo)


def refuse(repo: Path) -> None:
    raise RepoError("the registry is away")


@pytest.fixture
def repo(tmp_path):
    return shutil.copytree(
        shop.DEFINITIONS, tmp_path / "feature_repo", ignore=shutil.ignore_patterns("__pycache__")
    )


def request(folder: Path, content: str = FILE, **options) -> Request:
    path = folder / "spend.csv"
    path.write_text(content)
    return Request(file=path, **{"owner": "ana@example.org", **options})


def files(repo: Path) -> dict[str, bytes]:
    return {str(path.relative_to(repo)): path.read_bytes() for path in repo.rglob("*") if path.is_file()}


def test_the_definition_reads_as_a_person_would_write_it(tmp_path, repo):
    added = add_source(
        repo, request(tmp_path, descriptions={"Spend EUR": "'Paid', in EUR"}), register=register
    )
    assert added.definition.read_text() == DEFINITION
    assert added.view == "ana_spend"
    assert REGISTERED[-1] == repo
    assert added.remarks[-1].startswith(
        "no column says when a row became known, so each is taken as known when it"
    )


def test_the_table_is_exact(tmp_path, repo):
    added = add_source(repo, request(tmp_path), register=register)
    table = pq.read_table(added.table)
    assert table.schema.field("event_timestamp").type == pa.timestamp("us", tz="UTC")
    assert table.to_pylist() == [
        {
            "customer_id": 7,
            "event_timestamp": datetime(2024, 1, day, tzinfo=UTC),
            "spend_eur": eur,
            "points": n,
        }
        for day, eur, n in ((1, 1.5, 2**53 + 1), (2, None, 2))
    ]


def test_a_source_that_says_when_it_was_known_has_a_created_time(tmp_path, repo):
    choices = Choices(times=TimeRules(zone="UTC"), known_after=timedelta(hours=36))
    content = "customer_id,day,n\n7,2024-01-01,1\n"
    added = add_source(repo, request(tmp_path, content, choices=choices, ttl="30d"), register=register)
    text = added.definition.read_text()
    assert added.known == "36 h after 'day'"
    assert "Taken as known 36 h after the time in 'day'." in text
    assert 'created_timestamp_column="created_timestamp"' in text
    assert "ttl=timedelta(days=30)," in text
    assert pq.read_table(added.table)["created_timestamp"].to_pylist() == [
        datetime(2024, 1, 2, 12, tzinfo=UTC)
    ]


def test_an_entity_that_is_new_is_defined_too(tmp_path, repo):
    choices = Choices(keys=("shelf",))
    content = "shelf,at,n\nA7,2024-01-01T00:00:00Z,1\n"
    added = add_source(repo, request(tmp_path, content, choices=choices), register=register)
    assert """shelf = Entity(
    name="shelf",
    join_keys=["shelf"],
    value_type=ValueType.STRING,
""" in added.definition.read_text()
    assert find_entities(repo)["shelf"].module == "added.ana_spend"
    assert added.remarks[-1] == f"entity 'shelf' is new: describe it in {added.definition}"


def test_entities_are_found_where_the_repo_defines_them(repo):
    assert {key: (e.module, e.variable, e.type) for key, e in find_entities(repo).items()} == {
        "customer_id": ("entities", "customer", "int64"),
        "region_code": ("entities", "region", "string"),
    }


def test_nothing_is_left_of_what_could_not_be_registered(tmp_path, repo):
    before = files(repo)
    with pytest.raises(RepoError, match="the registry is away"):
        add_source(repo, request(tmp_path), register=refuse)
    assert files(repo) == before


def test_nothing_is_left_of_what_was_interrupted(tmp_path, repo):
    def stop(repo):
        raise KeyboardInterrupt

    before = files(repo)
    with pytest.raises(KeyboardInterrupt):
        add_source(repo, request(tmp_path), register=stop)
    assert files(repo) == before


def test_a_folder_that_is_no_repo_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"has no feature_store\.yaml; name the feature repo with --repo"):
        add_source(tmp_path, request(tmp_path), register=register)


def test_a_source_belongs_to_somebody(tmp_path, repo):
    with pytest.raises(NeedsAnswers) as asked:
        add_source(repo, request(tmp_path, owner="", view="spend"), register=register)
    assert [question.option for question in asked.value.questions] == ["--owner"]


@pytest.mark.parametrize("ttl", ["0d", "1.5h", "d", "10", "forever "])
def test_a_ttl_that_is_no_span_is_refused(tmp_path, repo, ttl):
    with pytest.raises(ConfigError, match=f"--ttl '{ttl}' is no span"):
        add_source(repo, request(tmp_path, ttl=ttl), register=register)


def test_texts_are_kept_as_plain_strings(tmp_path, repo):
    added = add_source(
        repo, request(tmp_path, "customer_id,at,note\n7,2024-01-01T00:00:00Z,a\n"), register=register
    )
    assert pq.read_schema(added.table).field("note").type == pa.string()


def test_what_was_there_stays_if_its_replacement_fails(tmp_path, repo):
    add_source(repo, request(tmp_path), register=register)
    before = files(repo)
    with pytest.raises(RepoError):
        add_source(repo, request(tmp_path, FILE.replace("1.5", "2.5"), replace=True), register=refuse)
    assert files(repo) == before


def test_all_that_is_wrong_is_said_at_once_and_nothing_is_written(tmp_path, repo):
    before = files(repo)
    wrong = request(tmp_path, FILE.replace("7,", "x,"), owner="ana", ttl="soon", view="Ana Spend")
    with pytest.raises(ConfigError) as refused:
        add_source(repo, wrong, register=register)
    assert refused.value.problems == (
        "--owner 'ana' is no address; write ana@example.org",
        "--ttl 'soon' is no span; write 30d, 12h, 90m, 45s or forever",
        "--name 'Ana Spend' is no view's name; write lower case words joined by one underscore",
        "key 'customer_id', lines 2, 3: 'x' is no int64",
    )
    assert files(repo) == before


def test_questions_name_the_options_that_answer_them(tmp_path, repo):
    content = "who,at,n\n7,2024-01-01 00:00:00,1\n"
    with pytest.raises(NeedsAnswers) as asked:
        add_source(repo, request(tmp_path, content, owner=""), register=register)
    assert [question.option for question in asked.value.questions] == ["--key", "--owner"]
    assert asked.value.problems[0].endswith(
        "of 'who', 'at' and 'n'; the repo's keys are 'customer_id' and 'region_code'? Say --key."
    )


def test_a_name_is_taken_once(tmp_path, repo):
    with pytest.raises(ConfigError, match=r"a view 'customer_orders' is defined at views\.py:8"):
        add_source(repo, request(tmp_path, view="customer_orders"), register=register)
    (repo / "data").mkdir()
    (repo / "data" / "orders.parquet").write_bytes(b"")
    with pytest.raises(ConfigError, match="is another source's table"):
        add_source(repo, request(tmp_path, view="orders"), register=register)
    add_source(repo, request(tmp_path), register=register)
    with pytest.raises(ConfigError, match=r"'ana_spend' was added before .*say --replace"):
        add_source(repo, request(tmp_path), register=register)
    add_source(repo, request(tmp_path, replace=True), register=register)


def test_only_the_name_of_another_view_is_taken(tmp_path, repo):
    # An entity and a feature service are called so.
    for name in ("customer", "churn"):
        (repo / "other.py").write_text(
            "from feast import FeatureService\nchurn = FeatureService(name='churn')\n"
        )
        assert add_source(repo, request(tmp_path, view=name), register=register).view == name


@pytest.mark.parametrize(
    ("words", "written"),
    [
        ({"ttl": "30d"}, "ttl=timedelta(days=30),"),
        ({"ttl": "forever"}, '"ttl": "forever",'),
        ({"description": "What they spent"}, 'description="What they spent",'),
        ({"descriptions": {"points": "Points"}}, 'description="Points"'),
        ({"descriptions": {"Spend EUR": "Spent"}}, 'description="Spent"'),
        ({"descriptions": {"spend_eur": "Spent"}}, 'description="Spent"'),
    ],
)
def test_new_words_are_written_with_new_rows(tmp_path, repo, words, written):
    added = add_source(repo, request(tmp_path), register=register)
    assert written not in added.definition.read_text()
    add_source(repo, request(tmp_path, replace=True, **words), register=register)
    assert written in added.definition.read_text()


def test_other_columns_are_another_definition(tmp_path, repo):
    added = add_source(repo, request(tmp_path), register=register)
    add_source(repo, request(tmp_path, FILE.replace("points", "miles"), replace=True), register=register)
    assert 'Field(name="miles", dtype=Int64)' in added.definition.read_text()


def test_a_column_that_says_when_a_row_became_known_is_named(tmp_path, repo):
    content = "customer_id,at,reported_at,n\n7,2024-01-01T00:00:00Z,2024-01-01T08:00:00Z,1\n"
    added = add_source(repo, request(tmp_path, content), register=register)
    assert (added.known, added.remarks) == ("column 'reported_at'", ())
    assert "Known as column 'reported_at' says." in added.definition.read_text()


def test_new_rows_of_the_same_columns_keep_a_definition_that_was_edited(tmp_path, repo):
    added = add_source(repo, request(tmp_path), register=register)
    edited = added.definition.read_text().replace('description=""', 'description="What they spent"')
    added.definition.write_text(edited)
    add_source(repo, request(tmp_path, FILE.replace("1.5", "2.5"), replace=True), register=register)
    assert added.definition.read_text() == edited.replace("fab7e77d8e89fee2", "d74192eeae353461")
    assert pq.read_table(added.table)["spend_eur"].to_pylist() == [2.5, None]


def test_a_shared_view_keeps_its_columns_and_words(tmp_path, repo):
    added = add_source(repo, request(tmp_path), register=register)
    added.definition.write_text(mark_shared(added.definition, added.definition.read_text()))
    before = files(repo)
    for change in ({"content": FILE.replace("points", "miles")}, {"description": "Something else"}):
        with pytest.raises(ConfigError, match="'ana_spend' is shared and others build on it"):
            add_source(repo, request(tmp_path, replace=True, **change), register=register)
    assert files(repo) == before
    add_source(repo, request(tmp_path, FILE.replace("1.5", "2.5"), replace=True), register=register)
    assert '"sharing": "shared"' in added.definition.read_text()


@pytest.mark.parametrize(
    ("option", "answer", "read"),
    [
        ("--owner", "ana@example.org", lambda r: r.owner),
        ("--key", "a, b", lambda r: r.choices.keys),
        ("--event-time", "at", lambda r: r.choices.event_time),
        ("--known-at", "told", lambda r: r.choices.known_at),
        ("--known-after", "2h", lambda r: r.choices.known_after),
        ("--zone", "UTC", lambda r: r.choices.times.zone),
    ],
)
def test_whatever_is_asked_can_be_answered(option, answer, read):
    wanted = {"--key": ("a", "b"), "--known-after": timedelta(hours=2)}.get(option, answer)
    assert read(answered(Request(file=Path("x.csv")), Question(option, "?"), answer)) == wanted


def test_a_person_whose_answer_cannot_be_read_is_asked_again(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("soon\n2h\n"))
    request = ask(Request(file=Path("x.csv")), Question("--known-after", "How long after?", "1d"))
    assert request.choices.known_after == timedelta(hours=2)
    asked = capsys.readouterr().err
    assert asked.count("How long after? [1d]:") == 2
    assert "--known-after 'soon': write a span as 1d, 2h, 30m or 0s" in asked


def test_a_description_of_what_is_not_there_is_refused(tmp_path, repo):
    with pytest.raises(
        ConfigError, match=r"--describe names \['spent'\]; the features are \['spend_eur', 'points'\]"
    ):
        add_source(repo, request(tmp_path, descriptions={"spent": "x"}), register=register)


def test_sharing_changes_one_word_of_a_definition():
    assert mark_shared(Path("x.py"), DEFINITION) == DEFINITION.replace('"private"', '"shared"')
    with pytest.raises(ConfigError, match="has 0 views with the tag"):
        mark_shared(Path("x.py"), DEFINITION.replace('"private"', '"shared"'))
