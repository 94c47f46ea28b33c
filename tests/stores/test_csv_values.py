"""Text to values: exact or refused by line, and never a guess about what a value means."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knownat.stores.csv_values import type_column


def typed(*values: str | None, **options):
    column = pl.Series("c", list(values), pl.String)
    found = type_column(column, pl.Series(range(2, len(values) + 2)), **options)
    return found.type, found.values.to_list(), list(found.problems)


@pytest.mark.parametrize(
    ("values", "kind", "read"),
    [
        (["1", "-2", "+3", None, " 4 "], "int64", [1, -2, 3, None, 4]),
        (["9007199254740993", "9223372036854775807"], "int64", [2**53 + 1, 2**63 - 1]),
        (["1", "2.5", "-.5", "1e-3", "7.", "+.5"], "float64", [1.0, 2.5, -0.5, 0.001, 7.0, 0.5]),
        (["true", "FALSE", None], "bool", [True, False, None]),
        (["007", "012"], "string", ["007", "012"]),  # a leading zero belongs to a code
        (["A1", "12", "B7", " c "], "string", ["A1", "12", "B7", " c "]),
        (["2024-01-01"], "string", ["2024-01-01"]),
        (["Süd", "北"], "string", ["Süd", "北"]),
    ],
)
def test_a_type_holds_every_value_as_it_was_written(values, kind, read):
    assert typed(*values) == (kind, read, [])


def test_an_integer_beyond_64_bits_is_refused_until_it_is_text():
    assert typed("1", "9223372036854775808")[2] == [
        "column 'c', line 3: an integer beyond 64 bits; keep the column as text with --type c=string"
    ]
    assert typed("1", "9223372036854775808", wanted="string") == ("string", ["1", "9223372036854775808"], [])


def test_a_whole_number_that_a_double_would_change_is_refused():
    advice = "does not fit a decimal column exactly; keep the column as text with --type c=string"
    assert typed("0.5", "9007199254740993", "9007199254740992")[2] == [
        f"column 'c', line 3: '9007199254740993' {advice}"
    ]
    for beyond in ("1e999", "9" * 400):
        assert typed("0.5", beyond)[2] == [f"column 'c', line 3: '{beyond}' {advice}"]


def test_numbers_among_which_a_few_are_none_are_asked_about():
    assert typed("1", "2", "n/a", "4", "n/a", "?")[2] == [
        (
            "column 'c' holds numbers, but lines 4, 6, 7 hold 'n/a', '?'; say --null 'n/a' if it means a "
            "missing value, or --type c=string if the column is text"
        )
    ]
    assert typed("1", None, "007")[2][0].startswith("column 'c' holds numbers, but line 4 holds '007'")
    odd = typed(*"1234567", *"abcdef")[2][0]
    assert "lines 9, 10, 11, 12, 13 and 1 more hold 'a', 'b', 'c', 'd', 'e', ...; say" in odd


def test_a_comma_in_a_number_is_a_point_only_if_somebody_says_so():
    assert typed("1,5", "2", "3,25")[2] == [
        (
            "column 'c', lines 2, 4: '1,5', '3,25' has a comma in a number; say --decimal , if it stands "
            "for a decimal point"
        )
    ]
    assert typed("1,5", "2", "n/a")[2][0].startswith(
        "column 'c' holds numbers, but lines 2, 4 hold '1,5', 'n/a'"
    )
    assert typed("1,5", "2", None, "3,25", decimal=",") == ("float64", [1.5, 2.0, None, 3.25], [])


def test_a_wanted_type_is_held_to():
    assert typed("1", "x", "2.5", wanted="int64")[2] == ["column 'c', lines 3, 4: 'x', '2.5' is no int64"]
    for text in ("007", "1_0"):
        assert typed("1", text, wanted="int64")[2] == [f"column 'c', line 3: '{text}' is no int64"]
    for text in ("inf", "nan", "1_0"):
        assert typed("1", text, wanted="float64")[2] == [f"column 'c', line 3: '{text}' is no float64"]
    assert typed("1", "0", wanted="bool")[2] == ["column 'c', lines 2, 3: '1', '0' is no bool"]
    assert typed("1", "2", wanted="float64") == ("float64", [1.0, 2.0], [])


def test_a_column_without_values_has_no_type():
    assert typed(None, None)[2] == ["column 'c' has no value in any row; leave it out with --skip c"]
    assert typed(None, None, wanted="string") == ("string", [None, None], [])


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=1).filter(any))
def test_every_64_bit_integer_survives(values):
    assert typed(*(None if v is None else str(v) for v in values)) == ("int64", values, [])


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_every_double_survives_its_shortest_spelling(values):
    values = [*values, 0.5]
    assert typed(*(None if v is None else repr(v) for v in values)) == ("float64", values, [])
