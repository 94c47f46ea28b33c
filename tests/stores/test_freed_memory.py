"""What is freed is kept for the next who needs as much, once that was asked for."""

import subprocess
import sys

import pytest

# Four pieces that are freed together: the heap's end then lies free, and glibc hands it back each time.
_WORK = """
import resource
from knownat.stores.freed_memory import keep_some
{first}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work():
    [b"." * (1 << 20) for _ in range(4)]
work()
before = faults()
for _ in range(50):
    work()
print((faults() - before) // 50)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="an allocator of its own")
def test_what_is_freed_is_not_had_from_the_system_again() -> None:
    asked = [
        int(
            subprocess.run(
                [sys.executable, "-c", _WORK.format(first=first)], capture_output=True, check=True
            ).stdout
        )
        for first in ("", "keep_some()")
    ]
    assert asked[0] > 500
    assert asked[1] < 5
