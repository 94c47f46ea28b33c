import numpy as np
import pyarrow as pa

from monitoring.sampling import sample
from tests.monitoring.shop_log import PLAN


def predictions(rows, *, expired=()):
    status = np.full(rows, "present", dtype=object)
    status[list(expired)] = "expired"
    return pa.table({"number": np.arange(rows), "served__orders__status": pa.array(status.tolist())})


def numbers(table):
    return table["number"].to_pylist()


def test_few_predictions_are_all_taken():
    assert sample(predictions(100), PLAN, 100).num_rows == 100


def test_a_sample_is_even_over_time_in_order_and_always_the_same():
    chosen = numbers(sample(predictions(100_000), PLAN, 1_000))

    assert len(chosen) == 1_000
    assert set(np.diff(chosen)) == {100}
    assert chosen == numbers(sample(predictions(100_000), PLAN, 1_000))


def test_predictions_that_lacked_a_row_are_taken_on_top():
    odd = range(50_000, 50_400)

    chosen = numbers(sample(predictions(100_000, expired=odd), PLAN, 1_000))

    assert len(set(chosen) & set(odd)) >= 250
    assert len(chosen) <= 1_000
    assert len(set(chosen)) == len(chosen)
    assert chosen == sorted(chosen)
