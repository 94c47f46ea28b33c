from datetime import UTC, datetime

import pyarrow as pa
import pytest

from knownat.errors import ReleaseError
from monitoring.source import read_evidence
from monitoring.windows import Window
from tests.monitoring.shop_log import END, MODEL, START, VERSION, make_features

WINDOW = Window(START, END)


def test_a_window_holds_the_champions_answers_in_order_of_time(shop):
    table = shop.rows(make_features(300, seed=3))
    role = ["champion"] * 200 + ["shadow"] * 100
    place = table.column_names.index("role")
    shop.write(table.set_column(place, "role", pa.array(role)).take(list(range(299, -1, -1))))

    evidence = read_evidence(shop.workspace, MODEL, WINDOW)

    assert evidence.predictions.num_rows == 200
    assert evidence.predictions["event_timestamp"].to_pylist() == sorted(
        table["event_timestamp"].to_pylist()[:200]
    )
    assert evidence.other_rows == {"v1 as shadow": 100}
    assert evidence.baseline.num_rows == 6_000


def test_the_release_that_answered_most_is_judged(shop):
    few = shop.rows(make_features(10, seed=3), name="few")
    place = few.column_names.index("version")
    shop.write(few.set_column(place, "version", pa.array(["v0"] * 10)), version="v0")
    shop.write(shop.rows(make_features(90, seed=4)))

    evidence = read_evidence(shop.workspace, MODEL, WINDOW)

    assert evidence.release.manifest.version == VERSION
    assert evidence.predictions.num_rows == 90
    assert evidence.other_rows == {"v0 as champion": 10}


def test_an_empty_window_is_judged_by_the_deployed_release(shop):
    evidence = read_evidence(shop.workspace, MODEL, WINDOW)

    assert evidence.release.manifest.version == VERSION
    assert evidence.predictions.num_rows == 0
    assert evidence.predictions.column_names[-1] == "latency_us"


def test_questions_outside_the_window_are_left_out(shop):
    shop.log(make_features(24, seed=3))
    noon = datetime(2024, 3, 4, 12, tzinfo=UTC)

    before, after = Window(START, noon), Window(noon, END)

    assert read_evidence(shop.workspace, MODEL, before).predictions.num_rows == 12
    assert read_evidence(shop.workspace, MODEL, after).predictions.num_rows == 12


def test_a_model_that_was_never_deployed_is_refused_with_the_next_step(shop):
    with pytest.raises(ReleaseError, match="Run `knownat train other`"):
        read_evidence(shop.workspace, "other", WINDOW)


def test_a_changed_release_is_refused(shop):
    shop.log(make_features(10, seed=3))
    (shop.release.path / "baseline.parquet").write_bytes(b"")

    with pytest.raises(ReleaseError, match=r"baseline.parquet was changed"):
        read_evidence(shop.workspace, MODEL, WINDOW)
