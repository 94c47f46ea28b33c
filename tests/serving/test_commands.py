"""What the scorer's commands take, and refuse before anything is opened."""

import pytest

from knownat.clock import FileClock
from knownat.errors import ConfigError
from serving.commands import check_clock, write_port


def test_a_clock_that_is_none_is_named(tmp_path):
    FileClock(tmp_path / "clock").move_to(5)

    assert check_clock(f"file:{tmp_path / 'clock'}").now_us() == 5
    with pytest.raises(ConfigError, match=r"--clock:\n- .*sundial"):
        check_clock("sundial")


def test_a_port_is_told_whole_in_the_place_of_the_one_before(tmp_path):
    for port in (8000, 41):
        write_port(tmp_path / "port", port)

    assert (tmp_path / "port").read_text() == "41\n"
    assert [path.name for path in tmp_path.iterdir()] == ["port"]
