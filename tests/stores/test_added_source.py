"""What a CSV means: found out where the file is clear, asked where it is not, refused where it cannot be."""

import csv
import io
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knownat.stores.added_source import Choices, Proposed, Refused, feature_name, propose
from knownat.stores.csv_text import CsvText, read_csv_text
from knownat.stores.csv_times import TimeRules

KNOWN = {"customer_id": "int64", "store": "string"}
IN_UTC = TimeRules(zone="UTC")


def text(content: str) -> CsvText:
    header, *rows = csv.reader(io.StringIO(content), delimiter=",")
    columns = {
        name: pl.Series(name, [row[place] or None for row in rows], pl.String)
        for place, name in enumerate(header)
    }
    return CsvText("sent.csv", ",", columns, pl.Series(range(2, len(rows) + 2)))


def found(content: str, entities=KNOWN, **choices) -> Proposed:
    result = propose(text(content), Choices(**choices), entities)
    assert isinstance(result, Proposed), result
    return result


def refused(content: str, entities=KNOWN, **choices) -> Refused:
    result = propose(text(content), Choices(**choices), entities)
    assert isinstance(result, Refused)
    return result


def test_a_clear_file_needs_no_word():
    source = found("customer_id,at,spend_eur\n7,2024-01-02T00:00:00Z,1.5\n7,2024-01-01T00:00:00Z,\n")
    assert source.keys == {"customer_id": "int64"}
    assert (source.event_time, source.known_at, source.has_created) == ("at", None, False)
    assert source.rows.rows() == [
        (7, datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC), None),
        (7, datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC), 1.5),
    ]


def test_every_key_the_repo_knows_is_taken():
    source = found("store,customer_id,at,n\n01,7,2024-01-02T00:00:00Z,1\n")
    assert source.keys == {"store": "string", "customer_id": "int64"}
    assert source.rows["store"].to_list() == ["01"]


def test_a_column_that_says_when_a_row_became_known_is_recognised():
    content = "customer_id,day,reported_at,n\n7,2024-01-01,2024-01-03 09:00:00,1\n"
    source = found(content, times=IN_UTC)
    assert (source.event_time, source.known_at) == ("day", "reported_at")
    assert source.rows["created_timestamp"].to_list() == [datetime(2024, 1, 3, 9, tzinfo=UTC)]


def test_days_are_known_only_as_long_after_as_somebody_says():
    content = "customer_id,day,n\n7,2024-01-01,1\n"
    (question,) = refused(content, times=IN_UTC).questions
    assert (question.option, question.default) == ("--known-after", "1d")
    source = found(content, times=IN_UTC, known_after=timedelta(days=1))
    assert source.rows["created_timestamp"].to_list() == [datetime(2024, 1, 2, tzinfo=UTC)]
    assert source.has_created
    assert not found(content, times=IN_UTC, known_after=timedelta(0)).has_created


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("who,at,n\n7,2024-01-01T00:00:00Z,1\n", ["--key"]),
        ("who,n\n7,1\n", ["--key", "--event-time"]),
        ("customer_id,at,n\n7,2024-01-01 00:00:00,1\n", ["--zone"]),
        ("customer_id,day,n\n7,2024-01-01,1\n", ["--zone", "--known-after"]),
        ("customer_id,left,came,n\n7,2024-01-01T00:00:00Z,2024-01-01T00:00:00Z,1\n", ["--event-time"]),
    ],
)
def test_what_the_file_does_not_say_is_asked_all_at_once(content, options):
    assert [question.option for question in refused(content).questions] == options


AT = "2024-01-01T00:00:00Z"
KEYS = "'customer_id' and 'store'"


@pytest.mark.parametrize(
    ("content", "choices", "asked"),
    [
        ("who,n\n7,1\n", {"keys": ("who",)}, ["Which of 'who' and 'n' says when a row was true?"]),
        (
            f"customer_id,left,came,n\n7,{AT},{AT},1\n",
            {},
            ["Which of 'left' and 'came' says when a row was true?"],
        ),
        (f"customer_id,day,ts,n\n7,{AT},{AT},1\n", {}, ["Which of 'day' and 'ts' says when a row was true?"]),
        (
            f"customer_id,at,reported_at,created,n\n7,{AT},{AT},{AT},1\n",
            {},
            ["Which of 'reported_at' and 'created' says when a row became known?"],
        ),
        (
            f"customer_id,at,reported_at,n\n7,{AT},2024-01-02 10:00,1\n",
            {},
            ["In which zone are the times of 'reported_at', e.g. UTC or Europe/Berlin?"],
        ),
        (
            "customer_id,at,reported_at,n\n7,2024-01-02 09:00,2024-01-02 10:00,1\n",
            {},
            ["In which zone are the times of 'at' and 'reported_at', e.g. UTC or Europe/Berlin?"],
        ),
        (
            f"customer_id,who,at,n\n7,8,{AT},1\n",
            {"skipped": ("customer_id",)},
            ["Which columns name the entity, of 'who', 'at' and 'n'; the repo's keys are " + KEYS + "?"],
        ),
    ],
)
def test_a_question_reads_as_a_sentence(content, choices, asked):
    assert [question.text for question in refused(content, **choices).questions] == asked


@pytest.mark.parametrize(
    ("content", "choices", "event", "known", "features"),
    [
        # Where several are times, the one that is called so.
        (f"customer_id,at,left,n\n7,{AT},{AT},1\n", {}, "at", None, ["left_epoch_us", "n"]),
        # The only time of a row says when it was true, whatever it is called.
        (f"customer_id,created_at,n\n7,{AT},1\n", {}, "created_at", None, ["n"]),
        # What was said to be the event's time says nothing else.
        (
            f"customer_id,created_at,left,n\n7,{AT},{AT},1\n",
            {"event_time": "created_at"},
            "created_at",
            None,
            ["left_epoch_us", "n"],
        ),
        # Whoever says how long it took needs no column for it.
        (
            f"customer_id,at,reported_at,n\n7,{AT},{AT},1\n",
            {"known_after": timedelta(hours=1)},
            "at",
            None,
            ["reported_at_epoch_us", "n"],
        ),
    ],
)
def test_the_roles_of_several_times_are_told_apart(content, choices, event, known, features):
    source = found(content, **choices)
    assert (source.event_time, source.known_at, [*source.columns]) == (event, known, features)


def test_a_key_may_look_like_a_time():
    source = found(f"day,at,n\n2024-01-01,{AT},1\n", {"day": "string"})
    assert (source.keys, source.event_time) == ({"day": "string"}, "at")


def test_when_a_row_became_known_is_said_in_one_way():
    content = f"customer_id,at,told,n\n7,{AT},{AT},1\n"
    assert refused(content, known_at="told", known_after=timedelta(hours=1)).problems == (
        "--known-at and --known-after both say when a row became known; leave one out",
    )


def test_a_number_too_large_for_a_key_of_numbers_is_a_key_of_text():
    source = found(f"who,at,n\n9223372036854775808,{AT},1\n", keys=("who",))
    assert source.keys == {"who": "string"}


def test_what_is_no_time_is_named_where_a_time_is_needed():
    content = f"customer_id,at,reported_at,left,n\n7,{AT},{AT},{AT},1\n8,soon,late,2024-02-30,1\n"
    named = {"event_time": "at", "known_at": "reported_at", "times": IN_UTC}
    assert [problem.split(" is no")[0] for problem in refused(content, **named).problems] == [
        "column 'at', line 3: 'soon'",
        "column 'reported_at', line 3: 'late'",
        "column 'left', line 3: '2024-02-30'",
    ]


def test_a_feature_that_is_a_time_needs_a_zone_unless_it_is_text():
    content = f"customer_id,at,left,n\n7,{AT},2024-01-01 10:00,1\n"
    assert refused(content).problems == (
        "column 'left' holds times without a zone; name it with --zone, e.g. --zone UTC",
    )
    assert found(content, times=IN_UTC).rows["left_epoch_us"].to_list() == [1_704_103_200_000_000]
    assert found(content, types={"left": "string"}).rows["left"].to_list() == ["2024-01-01 10:00"]


def test_an_option_may_name_what_cannot_be_recognised():
    source = found(
        "who,left,came,n\na,2024-01-01T00:00:00Z,2024-01-02T00:00:00Z,1\n", keys=("who",), event_time="came"
    )
    assert source.keys == {"who": "string"}
    assert source.rows["event_timestamp"].to_list() == [datetime(2024, 1, 2, tzinfo=UTC)]
    # A time that is a feature is stored so that no store shortens it.
    assert source.rows["left_epoch_us"].to_list() == [1_704_067_200_000_000]


def test_columns_that_are_not_there_are_named():
    problems = refused(
        "customer_id,at,n\n7,2024-01-01T00:00:00Z,1\n", skipped=("m",), types={"k": "int64"}
    ).problems
    assert [problem.split(";")[0] for problem in problems] == [
        "--type names 'k', which is no column",
        "--skip names 'm', which is no column",
    ]


def test_all_problems_are_named_with_their_lines():
    content = (
        "customer_id,at,points,amount\n"
        "7,2024-01-01T00:00:00Z,1,1.5\n"
        ",2024-01-01T00:00:00Z,2,1.5\n"
        "x,,3,1.5\n"
        "9,2024-01-01T00:00:00Z,9223372036854775808,one\n"
    )
    keep = "keep the column as text with --type points=string"
    what = "say --null 'one' if it means a missing value, or --type amount=string if the column is text"
    assert refused(content, event_time="at").problems == (
        "column 'at', line 4: a row without a time",
        "key 'customer_id', line 3: a row without a key is nobody's",
        "key 'customer_id', line 4: 'x' is no int64",
        f"column 'points', line 5: an integer beyond 64 bits; {keep}",
        f"column 'amount' holds numbers, but line 5 holds 'one'; {what}",
    )


def test_rows_that_repeat_another_are_kept_once_and_counted():
    row = "7,2024-01-01T00:00:00Z,1\n"
    source = found("customer_id,at,n\n" + row + row + "7,2024-01-02T00:00:00Z,1\n")
    assert source.rows.height == 2
    assert source.remarks == ("1 rows repeat another in every column and are kept once",)


def test_two_rows_that_contradict_each_other_are_refused():
    content = (
        "customer_id,at,n\n7,2024-01-01T00:00:00Z,1\n8,2024-01-01T00:00:00Z,1\n7,2024-01-01T00:00:00Z,2\n"
    )
    (problem,) = refused(content).problems
    assert problem.startswith(
        "lines 2, 4 say different things of customer_id=7 at 2024-01-01T00:00:00+00:00;"
    )


def test_a_correction_known_later_contradicts_nothing():
    content = (
        "customer_id,at,known_at,n\n"
        "7,2024-01-01T00:00:00Z,2024-01-01T00:00:00Z,1\n"
        "7,2024-01-01T00:00:00Z,2024-01-05T00:00:00Z,2\n"
    )
    assert found(content).rows["n"].to_list() == [1, 2]


def test_names_are_spelt_as_features_are():
    source = found("customer_id,at,Order Value (EUR),2nd,visitCount\n7,2024-01-01T00:00:00Z,1,2,3\n")
    assert source.columns == {
        "order_value_eur": "Order Value (EUR)",
        "n_2nd": "2nd",
        "visit_count": "visitCount",
    }
    assert source.remarks[0] == "column 'Order Value (EUR)' is the feature 'order_value_eur'"
    assert feature_name("a__B") == "a_b"
    assert [feature_name(each) for each in ("Max dB", "energy kWh", "orderID")] == [
        "max_db", "energy_kwh", "order_id",
    ]  # fmt: skip


def test_two_columns_never_become_one_feature():
    content = "customer_id,at,n-1,n_1\n7,2024-01-01T00:00:00Z,1,2\n"
    (problem,) = refused(content).problems
    assert (
        problem == "column 'n_1' would be the feature 'n_1', as column 'n-1'; say --rename 'n_1'=another_name"
    )
    assert found(content, names={"n-1": "first"}).columns == {"first": "n-1", "n_1": "n_1"}


@pytest.mark.parametrize(
    ("column", "name", "told"),
    [
        ("?", None, "would be the feature ''; say --rename '?'=a_plain_name"),
        ("n", "9 lives", "would be the feature '9 lives'; say --rename 'n'=a_plain_name"),
        ("n", "customer_id", "would be the feature 'customer_id', as a key or a time; say --rename"),
        ("Event Timestamp", None, "would be the feature 'event_timestamp', as a key or a time; say --rename"),
    ],
)
def test_a_name_that_no_feature_can_have_is_refused(column, name, told):
    content = f"customer_id,at,{column}\n7,{AT},1\n"
    (problem,) = refused(content, names={} if name is None else {column: name}).problems
    assert problem.startswith(f"column '{column}' {told}")


def test_of_several_contradictions_the_first_is_shown_and_the_rest_is_counted():
    rows = "".join(f"{who},{AT},{n}\n" for who in (7, 8, 9) for n in (1, 2))
    (problem,) = refused("customer_id,at,n\n" + rows).problems
    assert problem.startswith("lines 2, 3 say different things of customer_id=7 at 2024-01-01T00:00:00+00:00")
    assert "(and 2 more such pairs); add the key" in problem


def test_a_file_of_keys_and_times_has_no_feature():
    assert refused("customer_id,at\n7,2024-01-01T00:00:00Z\n").problems == (
        "has keys and times only; there is no column to make a feature of",
    )


words = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1).filter(
    lambda word: (word.strip() and not word.strip().isascii()) or word.strip().isalpha()
)
moments = st.datetimes(
    datetime.fromisoformat("1970-01-01"), datetime.fromisoformat("2100-01-01"), timezones=st.just(UTC)
)
values = st.tuples(
    st.integers(-(2**63), 2**63 - 1),
    moments,
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | words.map(lambda word: f"w{word}w"),
)


@given(rows=st.lists(values, min_size=1, max_size=8, unique_by=lambda row: row[:2]))
def test_a_file_comes_out_as_it_went_in(tmp_path_factory, rows):
    """Whatever was written by somebody else's CSV writer is found again, value by value."""
    path = tmp_path_factory.mktemp("csv") / "sent.csv"
    full = [*rows, (1, datetime(1969, 1, 1, tzinfo=UTC), 5, 0.5, "word")]
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file, delimiter=";", quoting=csv.QUOTE_ALL)
        writer.writerow(["customer_id", "at", "whole", "real", "word"])
        writer.writerows((k, t.isoformat(), i, None if f is None else repr(f), w) for k, t, i, f, w in full)

    source = propose(read_csv_text(path), Choices(event_time="at"), KNOWN)

    assert isinstance(source, Proposed), source
    kept = source.rows.drop("created_timestamp").sort("customer_id", "event_timestamp").rows()
    assert kept == sorted(full, key=lambda row: row[:2])
