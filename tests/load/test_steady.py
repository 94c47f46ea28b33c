"""A scorer at half of what it can do: it answers nearly all, in time, and grows no larger."""

import psutil

from tests.load.accounts import check_every_answer_is_accounted_for, log_counts
from tests.load.clients import ask, ask_paced
from tests.load.processes import resident_mb
from tests.load.report import tell
from tests.serving.running import serving
from tests.soak import SOAKING, scale

CONNECTIONS = 16


def test_at_half_of_its_peak_it_answers_in_time_and_does_not_grow(made, aim):
    with serving(made) as running:
        target = aim(running)
        process = psutil.Process(running.process.pid)
        warm = ask(target, 500, connections=CONNECTIONS, keep=True)
        peak = ask(target, scale(1_000, 20_000), connections=CONNECTIONS, keep=True)
        rate = peak.statuses[200] / peak.seconds / 2
        settled = ask_paced(target, rate, scale(1, 10), connections=CONNECTIONS, keep=True)
        before, times = resident_mb(process), psutil.cpu_times()
        steady = ask_paced(target, rate, scale(2, 60), connections=CONNECTIONS, keep=True)
        after = resident_mb(process)
        tell(
            "half of peak", steady, times, peak_per_second=round(2 * rate), rate_per_second=round(rate),
            resident_mb_before=round(before, 1), resident_mb_after=round(after, 1),
        )  # fmt: skip
        counts = log_counts(running.said["admin"])

    rows = check_every_answer_is_accounted_for(
        [warm, peak, settled, steady], made.workspace.predictions, counts
    )
    assert rows == counts["written"]
    assert steady.share(200) >= 0.9995
    assert after - before < 4
    # A time is a promise of a machine that is not busy with something else: no unit test asks for it.
    assert not SOAKING or steady.quantile(0.99) <= 0.005
