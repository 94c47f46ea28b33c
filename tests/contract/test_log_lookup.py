"""One prediction by its id: only below its model's folder, only in its writer's files."""

import pytest

from knownat.clock import to_us
from knownat.contract.log_lookup import find_prediction
from tests.stores.served import ServedModel
from tests.stores.test_served_log import question

ELSEWHERE = {
    "a path for a model": "../basket.{rest}",
    "a folder for a model": "basket/1.{rest}",
    "a pattern for a model": "*.{rest}",
    "a pattern for a writer": "basket.****************0000000000.tag",
    "a path for a writer": "basket./../../../../../../0000000000.tag",
    "too short": "basket.abc",
    "nothing": "",
}


@pytest.fixture
def log(tmp_path):
    return tmp_path / "predictions"


def test_a_row_is_found_with_every_column(log):
    model = ServedModel(log, "basket")
    ids = model.answer([question(hour, customer=hour) for hour in range(30)])

    found = find_prediction(log, ids[17])

    assert (found["prediction_id"], found["key__customer_id"]) == (ids[17], 17)
    assert to_us(found["event_timestamp"]) == question(17)["event_timestamp"]
    model.close()
    assert find_prediction(log, ids[17]) == found


def test_a_row_that_only_mentions_the_id_is_not_taken_for_it(log):
    model = ServedModel(log, "basket")
    (issued,) = model.answer([question(0)])
    wanted = issued.replace("0000000000.", "00000000ff.")
    model.answer([question(1, request_id=wanted, input__channel=wanted)])
    assert find_prediction(log, wanted) is None

    model.answer([question(2, prediction_id=wanted, input__channel="this")])

    assert find_prediction(log, wanted)["input__channel"] == "this"


@pytest.mark.parametrize("text", ELSEWHERE.values(), ids=ELSEWHERE)
def test_an_id_leads_nowhere_else(log, text):
    model = ServedModel(log, "basket")
    (one,) = model.answer([question(0)])

    assert find_prediction(log, one) is not None
    assert find_prediction(log, text.format(rest=one.partition(".")[2])) is None
    assert find_prediction(log, one[:-1]) is None


def test_an_absolute_path_is_no_model(log, tmp_path):
    elsewhere = ServedModel(tmp_path / "elsewhere", "basket")
    (one,) = elsewhere.answer([question(0)])
    absolute = f"{tmp_path}/elsewhere/{one}"
    elsewhere.answer([question(0, prediction_id=absolute)])

    assert find_prediction(log, absolute) is None


def test_a_torn_tail_hides_no_row_before_it(log):
    model = ServedModel(log, "basket")
    first, last = model.answer([question(0), question(1)])
    (journal,) = (log / "basket" / "1").glob("journal-*.bin")
    journal.write_bytes(journal.read_bytes()[:-3])

    assert find_prediction(log, first) is not None
    assert find_prediction(log, last) is None
