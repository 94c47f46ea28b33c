"""Served values against the offline store, over a real Feast repo whose rows were written in steps."""

import math
from datetime import timedelta

import pyarrow as pa
import pytest

from knownat.contract.prediction_log import prediction_schema
from monitoring.causes import Cause
from monitoring.skew import SkewResult, replay

pytestmark = pytest.mark.xdist_group("feast-monitoring")

STEPS_H = (60, 75, 90, 105)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Questions asked of a store that is written in four steps, as the scorer would log them."""
    from knownat.contract.release import read_release
    from knownat.contract.workspace import Workspace
    from knownat.scoring.scorer import Scorer
    from knownat.stores.materialization import materialize
    from knownat.stores.online import open_reader
    from knownat.stores.repo import apply_repo, open_repo
    from tests.serving.shop_release import MODEL_NAME, release_shop
    from tests.stores import shop

    path = shop.copy_shop(tmp_path_factory.mktemp("skew"))
    apply_repo(path)
    release_shop(path, "1")
    workspace, repo = Workspace.at(path), open_repo(path)
    scorer = Scorer.load(read_release(workspace.releases / MODEL_NAME / "1"))
    keys = [(c, r) for c in (*shop.CUSTOMERS, 999, None) for r in (*shop.REGIONS, "nowhere", None)]
    rows = []
    for hour in STEPS_H:
        materialize(repo, until=shop.at(hour))
        reader = open_reader(repo, scorer.plan)
        # After the last write, until its rows are older than their ttl of two days.
        later = hour + (50 if hour == STEPS_H[-1] else 13)
        for asked in (shop.at(hour), shop.at(later, microseconds=7)):
            rows += _answer(scorer, reader, keys, asked)
    steps = [shop.at(hour) for hour in STEPS_H]
    return workspace, pa.Table.from_pylist(rows, schema=prediction_schema(scorer.plan)), steps


def _answer(scorer, reader, keys, asked):
    from knownat.clock import from_us, to_us

    plan, us, n = scorer.plan, to_us(asked), len(keys)
    read = reader.read({"customer_id": [c for c, _ in keys], "home_region": [r for _, r in keys]}, us)
    columns = scorer.columns(read.values, {"question_us": [us] * n})
    logged = {
        **columns,
        "key__customer_id": [c for c, _ in keys],
        "key__home_region": [r for _, r in keys],
        "input__question_us": [us] * n,
        "prediction_id": [f"churn.{us}.{i}" for i in range(n)],
        "score": scorer.score(columns).tolist(),
    }
    for view in plan.views:
        for what, found in (("event", read.event_us), ("created", read.created_us)):
            moments = [None if moment is None else from_us(moment) for moment in found[view.name]]
            logged[f"served__{view.name}__{what}_timestamp"] = moments
        logged[f"served__{view.name}__status"] = [str(status) for status in read.status[view.name]]
    constant = {
        "request_id": "r", "logged_at": asked, "event_timestamp": asked, "model": "churn", "version": "1",
        "role": "champion", "degraded": False, "latency_us": 1,
    }  # fmt: skip
    return [{**constant, **{name: values[i] for name, values in logged.items()}} for i in range(n)]


def replaced(table, name, place, value):
    values = table[name].to_pylist()
    values[place] = value
    position = table.column_names.index(name)
    return table.set_column(
        position, table.schema.field(name), pa.array(values, table.schema.field(name).type)
    )


def test_what_was_served_is_what_was_known_at_the_last_write(served):
    workspace, predictions, steps = served

    result = replay(workspace, "churn", predictions, steps)

    assert (result.mismatches, result.origin_mismatches, result.first) == (0, 0, ())
    assert result.max_score_difference <= 1e-12
    assert result.rows == predictions.num_rows == 560
    # Four stored features of customers, the one they are aged by, one of regions, one made on demand.
    assert result.values_compared == 7 * 560
    assert {"present", "expired", "not_found"} <= set(
        predictions["served__customer_orders__status"].to_pylist()
    )


def test_asked_at_the_questions_own_time_late_rows_would_look_like_skew(served):
    workspace, predictions, _ = served

    wrong = replay(workspace, "churn", predictions, sorted(set(predictions["event_timestamp"].to_pylist())))

    assert wrong.mismatches > 0


def test_the_order_of_the_steps_does_not_matter(served):
    workspace, predictions, steps = served

    assert replay(workspace, "churn", predictions, steps[::-1]).mismatches == 0


def test_one_changed_value_is_found_and_named(served):
    workspace, predictions, steps = served
    name = "customer_orders__order_value_eur_30d"
    value = next(v for v in predictions[name].to_pylist() if v)
    place = predictions[name].to_pylist().index(value)
    forged = replaced(predictions, name, place, value * (1 + 2**-52))

    result = replay(workspace, "churn", forged, steps)

    assert (result.mismatches, result.by_column) == (1, {name: 1})
    (found,) = result.first
    assert (found.prediction_id, found.column) == (predictions["prediction_id"][place].as_py(), name)
    assert (found.served, found.offline) == (value * (1 + 2**-52), value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("order_age__order_age_s", -1.0), ("region_sales__sales_y", -1), ("customer_orders__last_channel", "?")],
)
def test_every_kind_of_value_is_compared(served, name, value):
    workspace, predictions, steps = served

    assert replay(workspace, "churn", replaced(predictions, name, 3, value), steps).by_column == {name: 1}


def test_a_changed_score_and_a_changed_origin_are_found(served):
    workspace, predictions, steps = served
    score = predictions["score"][5].as_py()
    forged = replaced(predictions, "score", 5, score + 1e-9)
    forged = replaced(forged, "served__region_sales__status", 0, "unavailable")

    result = replay(workspace, "churn", forged, steps)

    assert result.max_score_difference == pytest.approx(1e-9, rel=1e-3)
    assert (result.mismatches, result.origin_mismatches) == (0, 1)


def test_before_the_first_step_nothing_was_served(served):
    workspace, predictions, steps = served

    result = replay(workspace, "churn", predictions, [steps[-1] + timedelta(days=9)])

    assert result.mismatches > 1_000


def test_with_only_the_last_write_known_older_questions_are_left_out(served):
    workspace, predictions, _ = served

    result = replay(workspace, "churn", predictions)

    assert (result.rows, result.rows_left_out) == (140, 420)
    assert (result.mismatches, result.origin_mismatches) == (0, 0)


def test_no_predictions_are_no_skew(served):
    workspace, predictions, steps = served

    assert replay(workspace, "churn", predictions.slice(0, 0), steps) == SkewResult()


def explained(served, predictions=None, **given):
    from monitoring.explaining import explain_skew

    workspace, logged, steps = served
    return explain_skew(
        workspace, "churn", logged if predictions is None else predictions, rows=None, steps=steps, **given
    )


def test_rows_written_in_steps_differ_from_training_by_lag_alone(served):
    report = explained(served)

    assert report.exact
    assert (report.asked, report.rows, report.values) == (560, 560, 7 * 560)
    assert set(report.causes) == {Cause.LAG}
    assert report.unexpected == {}
    # What is made on demand of a row that was not served yet differs for the same reason.
    assert {"customer_orders__order_value_eur_30d", "order_age__order_age_s"} <= {
        column.column for column in report.columns
    }


@pytest.mark.parametrize(
    ("name", "change", "cause"),
    [
        ("customer_orders__order_value_eur_30d", lambda value: value * 1.5, Cause.MISMATCH),
        ("customer_orders__order_value_eur_30d", lambda value: float(int(value)), Cause.DTYPE),
        ("order_age__order_age_s", lambda value: value + 1, Cause.MISMATCH),
    ],
)
def test_a_changed_value_is_named_beside_the_lag(served, name, change, cause):
    _, predictions, _ = served
    usual = explained(served)
    values = predictions[name].to_pylist()
    place = next(i for i, value in enumerate(values) if value and value % 1)

    report = explained(served, replaced(predictions, name, place, change(values[place])))

    assert report.unexpected == {cause: 1}
    assert report.causes.get(Cause.LAG, 0) in (usual.causes[Cause.LAG], usual.causes[Cause.LAG] - 1)
    first = report.columns[0]
    (example,) = [example for example in first.examples if example.cause is cause]
    assert (first.column, example.prediction_id) == (name, predictions["prediction_id"][place].as_py())


def test_a_function_that_computes_otherwise_is_another_definition(served):
    _, predictions, _ = served
    name = "order_age__order_age_s"
    place = predictions.column_names.index(name)
    doubled = [None if value is None else 2 * value + 1 for value in predictions[name].to_pylist()]
    kind = predictions.schema.field(name)

    report = explained(served, predictions.set_column(place, kind, pa.array(doubled, kind.type)))

    known = [value for value in doubled if value is not None and not math.isnan(value)]
    assert report.unexpected == {Cause.OTHER_DEFINITION: len(known)}


@pytest.mark.parametrize(
    ("rows", "wrong", "cause"),
    [(385, 76, Cause.MISMATCH), (50, 19, Cause.MISMATCH), (50, 20, Cause.OTHER_DEFINITION)],
)
def test_a_function_computes_otherwise_if_enough_and_a_fifth_of_its_values_differ(served, rows, wrong, cause):
    _, predictions, _ = served
    name = "order_age__order_age_s"
    known = [at for at, value in enumerate(predictions[name].to_pylist()) if value and not math.isnan(value)]
    asked = predictions.take(pa.array(known[:rows]))
    values = [value + (at < wrong) for at, value in enumerate(asked[name].to_pylist())]
    place, field = asked.column_names.index(name), predictions.schema.field(name)

    report = explained(served, asked.set_column(place, field, pa.array(values, field.type)))

    assert report.unexpected == {cause: wrong}


def test_functions_are_asked_again_for_the_questions_own_time(served):
    _, predictions, _ = served
    name = "input__question_us"
    place, field = predictions.column_names.index(name), predictions.schema.field(name)
    otherwise = predictions.set_column(place, field, pa.array([0] * len(predictions)))

    assert explained(served, otherwise) == explained(served)


def test_a_row_that_only_the_store_took_for_expired_is_named_by_its_ttl(served):
    _, predictions, _ = served
    status = predictions["served__region_sales__status"].to_pylist()
    kept = []
    explained(served, keep=kept.append)
    pairs = zip(predictions["region_sales__sales_y"], kept[0]["region_sales__sales_y"], strict=True)
    same = [ours.as_py() == theirs.as_py() for ours, theirs in pairs]
    place = max(at for at, each in enumerate(status) if each == "present" and same[at])
    held = replaced(predictions, "served__region_sales__status", place, "expired")
    held = replaced(held, "region_sales__sales_y", place, None)

    assert explained(served, held).unexpected == {Cause.TTL: 1}


def test_what_training_would_have_seen_is_kept_with_the_rows_it_is_of(served):
    _, predictions, _ = served
    name = "customer_orders__order_value_eur_30d"
    values = predictions[name].to_pylist()
    place = next(i for i, value in enumerate(values) if value and value % 1)
    kept = []

    explained(served, replaced(predictions, name, place, values[place] * 60), keep=kept.append)

    (truth,) = kept
    ids = truth["prediction_id"].to_pylist()
    assert ids == predictions["prediction_id"].to_pylist()
    assert truth[name][place].as_py() == values[place]
    assert truth["event_timestamp"].equals(predictions["event_timestamp"])
    assert set(truth["version"].to_pylist()) == {"1"}


def test_a_row_that_was_lost_online_is_named(served):
    _, predictions, _ = served
    status = predictions["served__region_sales__status"].to_pylist()
    place = max(i for i, value in enumerate(status) if value == "present")
    lost = replaced(predictions, "served__region_sales__status", place, "not_found")
    for what in ("event_timestamp", "created_timestamp"):
        lost = replaced(lost, f"served__region_sales__{what}", place, None)
    lost = replaced(lost, "region_sales__sales_y", place, None)

    assert explained(served, lost).unexpected == {Cause.MISSING_ONLINE: 1}


def test_no_predictions_have_no_skew_to_explain(served):
    _, predictions, _ = served

    assert explained(served, predictions.slice(0, 0)).rows == 0


def hidden(predictions, secret):
    """The same log, its keys as the scorer would have logged them had they been declared pseudonymous."""
    for name in ("customer_id", "home_region"):
        column = f"key__{name}"
        made = [secret.of(name, value) for value in predictions[column].to_pylist()]
        place = predictions.column_names.index(column)
        predictions = predictions.set_column(place, column, pa.array(made, pa.string()))
    place = predictions.column_names.index("version")
    return predictions.set_column(place, "version", pa.array(["2"] * len(predictions)))


def test_pseudonyms_are_revealed_by_the_secret_and_replay_without_a_difference(served):
    from knownat.contract.pseudonyms import Pseudonyms
    from knownat.errors import LogError
    from monitoring.revealing import reveal_keys
    from tests.serving.shop_release import release_shop

    workspace, predictions, steps = served
    release_shop(workspace.repo, "2", pseudonymous_keys=["customer_id", "home_region"])
    secret = Pseudonyms(b"s" * 32)
    masked = hidden(predictions, secret)

    found = reveal_keys(workspace, "churn", masked, secret)

    known = [None if key == 999 else key for key in predictions["key__customer_id"].to_pylist()]
    assert found["key__customer_id"].to_pylist() == known
    result = replay(workspace, "churn", found, steps)
    assert (result.rows, result.mismatches, result.origin_mismatches) == (560, 0, 0)
    assert reveal_keys(workspace, "churn", predictions, None) is predictions
    with pytest.raises(LogError, match="as keyed hashes"):
        reveal_keys(workspace, "churn", masked, None)
    with pytest.raises(LogError, match="hashed with another secret"):
        reveal_keys(workspace, "churn", masked, Pseudonyms(b"t" * 32))


def run_skew(workspace, *arguments):
    import typer
    from typer.testing import CliRunner

    from monitoring.skew_commands import skew

    app = typer.Typer()
    app.command()(skew)
    window = ["--start", "2024-03-29", "--end", "2024-04-20"]
    return CliRunner().invoke(
        app, ["churn", "--repo", str(workspace.repo), *window, *arguments], env={"COLUMNS": "200"}
    )


def test_the_command_tells_lag_from_what_is_to_mend_by_its_exit_code(served):
    import json

    import pyarrow.parquet as pq

    workspace, predictions, _ = served
    folder = workspace.predictions / "churn" / "1"
    folder.mkdir(parents=True)
    name = "customer_orders__order_value_eur_30d"
    values = predictions[name].to_pylist()
    place = next(i for i, value in enumerate(values) if value)

    pq.write_table(predictions, folder / "segment-a.parquet")
    usual = run_skew(workspace, "--json", "--exact")
    pq.write_table(replaced(predictions, name, place, values[place] * 1.5), folder / "segment-a.parquet")
    broken = run_skew(workspace, "--exact")
    sampled = run_skew(workspace, "--json", "--rows", "50")

    assert usual.exit_code == 0, usual.output
    document = json.loads(usual.stdout)
    assert (document["exact"], document["rows"], list(document["causes"])) == (
        True,
        560,
        ["materialization_lag"],
    )
    assert broken.exit_code == 1
    assert "true_mismatch" in broken.stdout
    assert "560 of 560 predictions (all)" in " ".join(broken.stdout.split())
    document = json.loads(sampled.stdout)
    assert (document["exact"], document["asked"]) == (False, 560)
    assert document["rows"] <= 50
