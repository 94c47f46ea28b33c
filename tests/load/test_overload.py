"""More than a scorer can answer: the rest is told so at once, and when it is over all is as before."""

import time

import psutil
import pytest

from tests.load.accounts import check_every_answer_is_accounted_for, log_counts
from tests.load.clients import ask, ask_paced
from tests.load.report import tell
from tests.serving.running import serving
from tests.soak import scale

MANY, FEW = 400, 8


# One client sends a small question only twice as fast as it is answered; of long ones it sends enough.
@pytest.mark.parametrize("rows", [1, 20, 80], ids=["one row", "twenty rows", "eighty rows"])
def test_five_times_its_peak_is_shed_and_it_recovers(made, aim, rows):
    with serving(made, "--max-pending", "50") as running:
        target = aim(running, rows=rows)
        times = psutil.cpu_times()
        before = ask(target, scale(300, 5_000) // (1 + rows // 20), connections=FEW, keep=True)
        peak = before.statuses[200] / before.seconds
        over = ask_paced(target, 5 * peak, scale(1, 20), connections=MANY, keep=True)
        ended = time.monotonic()
        after = ask(target, 100, connections=1, keep=True)
        recovered = max([0.0, *(at - ended for at, status in after.answered_at if status != 200)])
        tell(
            f"five times the peak, {rows} rows", over, times, peak_per_second=round(peak),
            sent_per_second=round(over.total / over.seconds), recovered_seconds=round(recovered, 3),
        )  # fmt: skip
        counts = log_counts(running.said["admin"])
        alive = running.process.poll()

    assert before.statuses == {200: before.total}
    assert set(over.statuses) == {200, 503}
    # Of each crowd as many are answered as may wait, an eighth here; the rest is refused, and that costs too.
    assert over.share(200) >= 0.02
    assert over.headers[503][b"retry-after"] == b"1"
    assert over.broken == 0
    assert recovered < 5
    assert after.statuses[200] >= 90
    assert alive is None
    check_every_answer_is_accounted_for([before, over, after], made.workspace.predictions, counts)


def test_a_key_that_asks_too_often_is_told_to_wait(made, aim, run_knownat):
    keys = made.workspace.home / "keys.json"
    options = ["--scope", "predict", "--per-second", "20", "--keys", str(keys)]
    text = run_knownat("keys", "add", "eager", *options).stdout.split()[-1]
    with serving(made, "--keys", str(keys)) as running:
        target = aim(running)
        target = type(target)(target.url, target.requests, {"Authorization": f"Bearer {text}"})
        outcome = ask(target, scale(200, 2_000), connections=4, keep=True)
        counts = log_counts(running.said["admin"])

    assert set(outcome.statuses) == {200, 429}
    assert outcome.statuses[200] <= 20 * (outcome.seconds + 1)
    assert outcome.headers[429][b"retry-after"] == b"1"
    check_every_answer_is_accounted_for([outcome], made.workspace.predictions, counts)
