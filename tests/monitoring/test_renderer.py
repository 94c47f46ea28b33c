"""Evidently behind our guards: what it is fed, and what it would do without them."""

import numpy as np
import pytest

from monitoring.summary import ColumnDrift
from tests.monitoring.shop_log import END

pytestmark = pytest.mark.xdist_group("evidently")


def measured(column="a__b", *, kind="numeric", psi=0.123456):
    return ColumnDrift(
        column=column,
        kind=kind,
        importance=0.5,
        psi=psi,
        threshold=0.1,
        drifted=True,
        nulls_baseline=0,
        nulls_window=0,
    )


def render(path, window, baseline, *columns):
    from monitoring.renderer import render_report

    return render_report(path, window=window, baseline=baseline, measured=columns, when=END)


def numbers(rows=300):
    return np.random.default_rng(1).normal(size=rows)


@pytest.mark.parametrize("rows", [1_000, 1_001])
def test_the_method_is_ours_for_any_number_of_rows(tmp_path, rows):
    # Left alone Evidently tests p-values up to 1000 baseline rows and takes distances above.
    sample = {"a__b": numbers(rows)}

    assert render(tmp_path / "r.html", sample, sample, measured()) == ["a__b"]
    text = (tmp_path / "r.html").read_text()
    assert "PSI by quantile" in text
    assert '"drift_score": 0.123456' in text
    assert "Drift is detected for 100.0% of columns (1 out of 1)" in text


@pytest.mark.parametrize("empty", [np.full(300, np.nan), np.array([])], ids=["all null", "no rows"])
@pytest.mark.parametrize("side", ["window", "baseline"])
def test_a_column_without_values_is_left_out_and_the_others_shown(tmp_path, empty, side):
    # Evidently raises 'An empty column' and there is no report at all.
    full = {"a__b": numbers(), "a__c": numbers()}
    lacking = {"a__b": numbers(len(empty)), "a__c": empty}
    window, baseline = (lacking, full) if side == "window" else (full, lacking)
    expected = ["a__b"] if len(empty) else []

    assert render(tmp_path / "r.html", window, baseline, measured(), measured("a__c")) == expected
    assert (tmp_path / "r.html").exists() == bool(expected)


def test_a_column_that_one_side_lacks_is_left_out(tmp_path):
    full = {"a__b": numbers(), "a__c": numbers()}

    shown = render(tmp_path / "r.html", {"a__b": numbers()}, full, measured(), measured("a__c"))

    assert shown == ["a__b"]


def test_a_column_that_was_not_measured_is_left_out(tmp_path):
    sample = {"a__b": numbers()}

    assert render(tmp_path / "r.html", sample, sample, measured(psi=None)) == []


def test_types_are_told_never_guessed(tmp_path):
    # Evidently takes a column of many names for prose, which our method is not for.
    window = {"a__code": [f"tail {i}" for i in range(300)], "a__flag": np.array([0.0, 1.0] * 150)}

    shown = render(
        tmp_path / "r.html", window, window, measured("a__code", kind="category"), measured("a__flag")
    )

    assert shown == ["a__code", "a__flag"]
    text = (tmp_path / "r.html").read_text()
    assert text.count('"column_type": "num"') == 1
    assert text.count('"column_type": "cat"') == 1


def test_constant_columns_are_drawn(tmp_path):
    still = {"a__b": np.ones(300), "a__c": np.full(300, 5.0)}

    assert render(tmp_path / "r.html", still, still, measured(), measured("a__c")) == ["a__b", "a__c"]
