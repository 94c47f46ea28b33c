"""Every fault of a scorer's Redis under load: each reply honest, none hangs, and soon all is well again."""

import pytest

from tests.faults.redis_drill import DURING, drill
from tests.soak import SOAKING, scale


@pytest.mark.parametrize("policy", sorted(DURING) if SOAKING else ["nulls"])
def test_whatever_befalls_redis_every_reply_is_honest_and_none_hangs(tmp_path, policy):
    phases = drill(tmp_path, policy, seconds=scale(0.3, 10))

    assert [phase.name for phase in phases] == ["paused", "killed", "restarted empty", "300 ms late"]
    for phase in phases:
        assert set(phase.told) == {DURING[policy]}, phase
        assert phase.hangs == 0
    assert all(p.recovered_after is not None for p in phases if p.name != "killed")
    if SOAKING:
        assert max(p.recovered_after or 0.0 for p in phases) < 2.0
