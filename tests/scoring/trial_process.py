"""A trial room in a process of its own, since a fork after OpenMP has run hangs.

``python -m tests.scoring.trial_process FOLDER...`` says of each release why it is refused, or nothing.
``kill`` instead of a folder kills the room, ``end`` tells it to end, ``interrupt`` interrupts it, ``stop``
stops it; ``--cpu`` or ``--wall`` first gives trials a second of it.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path

import typer

from knownat.errors import ReleaseError
from knownat.scoring.trial import TrialLimits
from knownat.scoring.trial_room import open_trial_room

LIMITS = {"--cpu": TrialLimits(cpu_seconds=1), "--wall": TrialLimits(wall_seconds=1)}

SIGNALS = {"kill": signal.SIGKILL, "end": signal.SIGTERM, "interrupt": signal.SIGINT}


def main() -> None:
    words = sys.argv[1:]
    # As a server does, which has its own way to end; its room has not.
    signal.signal(signal.SIGTERM, lambda *_: None)
    room = open_trial_room(LIMITS.get(words[0], TrialLimits()))
    before = threading.active_count()
    for word in words:
        if word in LIMITS:
            continue
        if word in SIGNALS:
            (pid,) = (int(p) for p in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
            os.kill(pid, SIGNALS[word])
            continue
        if word == "stop":
            room.stop()
            continue
        try:
            room.try_load(Path(word), None)
        except ReleaseError as error:
            typer.echo(json.dumps(str(error)))
        else:
            typer.echo(json.dumps(""))
    room.close()
    loaded = "lib_lightgbm" in Path("/proc/self/maps").read_text()
    typer.echo(json.dumps({"threads": threading.active_count() - before, "loaded": loaded}))


if __name__ == "__main__":
    main()
