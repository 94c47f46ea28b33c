"""Releases tried in forked processes: what is broken takes down nothing but its trial."""

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from knownat.errors import ReleaseError
from knownat.scoring.trial import LIMITS
from knownat.scoring.trial_room import TrialRoom
from tests.scoring.small_release import publish_small
from tests.scoring.test_scorer import DAMAGES, ENDLESS


def tried(*words, gone=False):
    """What a process says of each release; ``gone`` where its room does not live to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.scoring.trial_process", *map(str, words)],
        capture_output=True,
        text=True,
        errors="replace",  # LightGBM repeats what it cannot read.
        check=True,
        timeout=120,
    )
    *said, last = map(json.loads, done.stdout.splitlines())
    assert last == {"threads": 0, "loaded": False}
    assert ("The trial room is gone" in done.stderr) is gone
    return said


def test_a_good_release_passes_between_broken_ones(tmp_path):
    good = publish_small(tmp_path / "good").path
    broken = [publish_small(tmp_path / name, damage=damage).path for name, damage in DAMAGES.items()]
    raising = publish_small(
        tmp_path / "raising", files={"transforms/load.py": "def load(inputs):\n    1 / 0"}
    )
    wrong = publish_small(tmp_path / "wrong", score_error=1e-9)
    leaving = publish_small(
        tmp_path / "leaving",
        files={"transforms/load.py": "def load(inputs):\n    import os\n\n    os._exit(3)"},
    )

    said = tried(good, *broken, good, raising.path, wrong.path, tmp_path / "nowhere", good, leaving.path)

    assert [said[0], said[4], said[8]] == ["", "", ""]
    for path, refusal in zip(broken, said[1:4], strict=True):
        assert str(path) in refusal
    assert "'load' cannot take these values (ZeroDivisionError)" in said[5]
    assert "golden scores differ by 1e-09" in said[6]
    assert str(tmp_path / "nowhere") in said[7]
    assert (
        said[9] == f"{leaving.path}: the trial load ended with status 3 and no answer. Restore the release."
    )


def test_a_room_that_is_gone_leaves_out_no_trial(tmp_path):
    good = publish_small(tmp_path / "good").path
    bad = publish_small(tmp_path / "bad", damage=DAMAGES["truncated"]).path

    said = tried(good, "kill", good, bad, gone=True)

    assert said[:2] == ["", ""]
    assert "killed by SIG" in said[2]


def test_a_room_that_is_told_to_end_does_whatever_its_owner_does_then(tmp_path):
    good = publish_small(tmp_path / "good").path

    assert tried(good, "end", good, gone=True) == ["", ""]


def test_a_refusal_without_end_is_cut_and_the_next_is_tried(tmp_path):
    crowded = publish_small(tmp_path / "crowded").path
    for number in range(1_500):
        (crowded / f"{number:0200}").touch()
    good = publish_small(tmp_path / "good").path

    refused, passed = tried(crowded, good)

    assert (len(refused), passed) == (65_536, "")
    assert refused.startswith(f"{crowded}: files ['0000")


def test_a_room_that_was_stopped_tries_nothing_more(tmp_path):
    good = publish_small(tmp_path / "good").path

    said = tried(good, "stop", good, "stop", good)

    given_up = f"{good}: its trial was given up, since the process that asked for it ends."
    assert said == ["", given_up, given_up]


def test_a_release_that_spins_is_stopped_and_the_next_is_tried(tmp_path):
    spinning = publish_small(tmp_path / "spinning", files=ENDLESS["spinning"]).path
    good = publish_small(tmp_path / "good").path

    # A Ctrl-C is for the process that asks, which tells the room when it ends.
    _, spun, passed = tried("--cpu", good, "interrupt", spinning, good)

    assert spun == f"{spinning}: the trial load was stopped after 1 s of processor time. Restore the release."
    assert passed == ""


def test_a_release_that_sleeps_is_stopped(tmp_path):
    sleeping = publish_small(tmp_path / "sleeping", files=ENDLESS["sleeping"]).path

    (slept,) = tried("--wall", sleeping)

    assert slept == f"{sleeping}: the trial load was stopped after 1 s. Restore the release."


def test_who_tries_while_another_does_is_not_told_what_became_of_the_others():
    ours, room_side = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    room, told = TrialRoom(0, ours, LIMITS), {}

    def try_load(name):
        with pytest.raises(ReleaseError) as refused:
            room.try_load(Path(name), None)
        told[name] = str(refused.value)

    first, second = (threading.Thread(target=try_load, args=(name,)) for name in ("one", "two"))
    with ours, room_side:
        first.start()
        asked = [json.loads(room_side.recv(1_000))["path"]]
        second.start()
        room_side.settimeout(0.3)
        with pytest.raises(TimeoutError):
            room_side.recv(1_000)
        room_side.settimeout(60)
        room_side.send(b'{"problem": "broken"}')
        asked.append(json.loads(room_side.recv(1_000))["path"])
        room_side.send(b'{"problem": "damaged"}')
        first.join()
        second.join()

    assert asked == ["one", "two"]
    assert told == {"one": "one: broken", "two": "two: damaged"}
