"""The card says what a model is for, who is missing, and can be read by whoever cannot see it."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest

from knownat.contract.release import GateResult
from tests.training.prepared import make_prepared
from training.card import render_card
from training.evaluation import evaluate
from training.selection import Part, measure_selection

SLICE = {"column": "shop", "min_rows": 10}


def render(task: str = "binary", **changes: object) -> str:
    prepared = make_prepared(task, **changes)
    data, test = prepared.data, prepared.data.fold.test
    scores = np.linspace(0.01, 0.99, len(test))
    if task == "multiclass":
        scores = np.tile([0.2, 0.3, 0.5], (len(test), 1))
    evaluation = evaluate(
        prepared.spec,
        prepared.joined.frame.take(test),
        labels=data.labels[test],
        scores=scores,
        baselines={"prior": scores[::-1]},
    )
    manifest = {
        "model": "late_parcel",
        "version": "3",
        "spec": prepared.spec,
        "gates": (GateResult(gate="auc at least 0.7", value=0.8, bound=0.7, passed=True),),
        "training_rows": 1_000,
        "training_start": datetime(2024, 1, 1, tzinfo=UTC),
        "training_end": datetime(2024, 2, 1, tzinfo=UTC),
        "created_at": datetime(2024, 5, 1, tzinfo=UTC),
        "feature_schema": data.schema,
        "best_iteration": 40,
        "code_commit": "abc",
        "lock_digest": "0" * 64,
        "lightgbm_version": "4",
        "threads": 1,
    }
    return render_card(
        manifest,
        evaluation,
        prepared.certificate,
        importance=dict.fromkeys(data.schema.names, 1.0),
        selection=measure_selection(prepared.spec, ASKED),
    )


ASKED = pa.table(
    {
        "label": pa.array([1.0] * 60 + [None] * 20 + [0.0] * 15 + [None] * 5),
        "shop": pa.array(["north"] * 80 + ["south"] * 20),
    }
)


class Outline(HTMLParser):
    """Tags in order, with what stands in them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def tables_of(page: str) -> list[tuple[list[str], list[list[str]]]]:
    """Heads of each table, and the names that each row's cells carry."""
    found = []
    for table in re.findall(r"<table>.*?</table>", page, re.DOTALL):
        heads = re.findall(r"<th scope=\"col\"[^>]*>([^<]*)</th>", table)
        rows = re.findall(r"<tr>(.*?)</tr>", table.partition("<tbody>")[2], re.DOTALL)
        cells = [re.findall(r"<td([^>]*)>", row) for row in rows]
        named = [[cell.partition('data-name="')[2].partition('"')[0] for cell in row] for row in cells]
        found.append((heads, named))
    return found


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass", "quantile"])
def test_every_card_is_whole_named_and_reachable_by_keyboard(task):
    page = render(task, limits=["Lost parcels have no answer."])
    outline = Outline(page)
    assert outline.open == []
    ids = {attrs["id"] for _, attrs in outline.tags if "id" in attrs}
    links = [str(attrs["href"]) for tag, attrs in outline.tags if tag == "a"]
    assert {link[1:] for link in links if link.startswith("#")} <= ids
    assert "mailto:parcels@example.org" in links
    tables = sum(tag == "table" for tag, _ in outline.tags)
    assert tables == sum(tag == "caption" for tag, _ in outline.tags)
    assert tables == sum(attrs.get("tabindex") == "0" for _, attrs in outline.tags)
    assert all("aria-label" in attrs for tag, attrs in outline.tags if tag in ("svg", "nav"))
    assert all("scope" in attrs for tag, attrs in outline.tags if tag == "th")
    assert not re.search(r"https?:|<script|src=", page)
    # On a phone, where there are no heads, each number has its name beside it.
    assert ["measured", "bound", "answer"] in [row for _, rows in tables_of(page) for row in rows]
    for heads, rows in tables_of(page):
        assert all(row == heads[len(heads) - len(row) :] for row in rows)
    assert "Lost parcels have no answer." in page
    assert ('id="calibration"' in page) == (task != "multiclass")


def test_a_card_counts_who_is_missing_and_where():
    found = measure_selection(make_prepared(slices=[SLICE]).spec, ASKED)
    assert found.whole == Part(100, 25)
    assert list(found.groups["shop"].items()) == [("north", Part(80, 20)), ("south", Part(20, 5))]
    page = render(slices=[{"column": "parcel__kind", "min_rows": 10}])
    assert re.search(r"Of 100 questions, 25 \(25.0 %\) have no\s+answer", page)


def test_where_all_have_answers_nobody_is_missing():
    found = measure_selection(make_prepared(slices=[SLICE]).spec, ASKED.filter(ASKED["label"].is_valid()))
    assert (found.whole.unanswered, found.groups) == (0, {})
