"""What a server's processes spend: CPU time and memory of the tree, workers that ended included."""

import psutil


def tree_cpu_seconds(process: psutil.Process) -> float:
    """User and system time of a process, its descendants, and those that ended and were waited for."""
    total = 0.0
    for one in _tree(process):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def tree_resident_mb(process: psutil.Process) -> float:
    """Resident memory of a process and its descendants, shared pages counted in each."""
    total = 0.0
    for one in _tree(process):
        try:
            total += resident_mb(one)
        except psutil.NoSuchProcess:
            continue
    return total


def resident_mb(process: psutil.Process) -> float:
    """Resident memory of one process."""
    return process.memory_info().rss / 2**20


def busy_share(seconds_before: "psutil._pslinux.scputimes", after: "psutil._pslinux.scputimes") -> float:
    """The share of the machine's time, between two looks, that somebody used or that was taken from it."""
    spent = [b - a for a, b in zip(seconds_before, after, strict=True)]
    names = dict(zip(after._fields, spent, strict=True))
    total = sum(spent)
    return 1 - (names["idle"] + names.get("iowait", 0.0)) / total if total else 0.0


def _tree(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]
