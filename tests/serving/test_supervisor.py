"""How soon a worker that ended is started again."""

from itertools import accumulate

from serving.supervisor import next_pause


def test_a_worker_that_served_is_started_again_soon_and_one_that_never_did_ever_later():
    pauses = accumulate(range(8), lambda pause, _: next_pause(pause, served=False), initial=0.5)

    assert [*pauses] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert next_pause(30.0, served=True) == 0.5
