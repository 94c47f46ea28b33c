"""Keep a scorer small and quick to start: what it must not load, and how many threads it may have."""

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


def stay_lean() -> None:
    """Set this process up for serving; call it before anything else is imported."""
    # Importing Feast's metrics sets this, here or in a process that started us, and prometheus_client then
    # keeps every number in a file: a full disk would fail requests. Each worker counts for itself.
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    # Scores need no linear algebra, and a process with one thread forks safely.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


class NotHere(MetaPathFinder):
    """Finds nothing, by name: an import of one of these modules fails as if it were not installed."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        """Refuse the named modules, and leave every other to the next finder."""
        if fullname in self._names:
            raise ModuleNotFoundError(f"A scorer imports no {fullname}.", name=fullname)
        return None


def keep_out(*names: str) -> None:
    """Let nothing import these modules for the rest of this process.

    Arrow would import pandas at the first list that it is given, to look for pandas' nulls: half a CPU
    second and 60 MB.
    """
    sys.meta_path.insert(0, NotHere(names))
