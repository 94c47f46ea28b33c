"""Where pushed rows go: the sources that a repo declares, and the store that their views are read from."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from knownat.contract.push_plan import PushPlan, PushSource, read_push_plan
from knownat.errors import ConfigError
from knownat.stores.codec import RowSchema
from knownat.stores.packed_write import write_table
from knownat.stores.row_keys import ViewName
from knownat.stores.rows import RowStore
from serving.errors import UnknownPath
from serving.pushed_rows import PushedColumns

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kept:
    """What became of the rows in one view: stored, or met by one as new or newer."""

    stored: int
    not_newer: int


@dataclass
class Pushes:
    """Takes rows for the push sources of one repo; without a store of packed rows it takes none."""

    path: Path
    open_store: Callable[[], RowStore | None]
    plan: PushPlan | None = None
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Rows by source and by what became of them: stored, not_newer, early or refused."""
    _stamp: tuple[int, int] | None = None
    _store: RowStore | None = None

    def source(self, name: str) -> PushSource:
        """Return a source that is declared now.

        Raises
        ------
        UnknownPath
            If there is none of that name; the message lists those that there are.
        """
        self._refresh()
        sources = {} if self.plan is None else self.plan.sources
        if name not in sources:
            why = "" if sources else " `knownat apply` lists a repo's push sources."
            raise UnknownPath(f"No such push source; there are {sorted(sources)}.{why}")
        return sources[name]

    def write(self, pushed: list[PushedColumns], now_us: int) -> dict[str, Kept]:
        """Write checked rows, each view's in one batch; the newest of each key stays.

        Raises
        ------
        UnknownPath
            If the online store keeps no packed rows.
        StoreFull, StoreUnavailable
            If the store cannot take them. Pushing them again is safe.
        """
        store = self._opened()
        kept = {}
        for one in pushed:
            view = one.view
            schema = RowSchema.of(
                keys={key.name: key.dtype for key in view.keys},
                features={field.name: field.dtype for field in view.features},
            )
            project = self.plan.project if self.plan is not None else ""
            name = ViewName(project, view.name)
            table = one.table()
            done = write_table(
                store, name, schema, table, now_us=now_us, event=view.event, created=view.created
            )
            kept[view.name] = Kept(done.stored, done.outranked)
        return kept

    def count(self, name: str, became: str, rows: int) -> None:
        """Add to what became of a source's rows; only names that are declared get here."""
        self.counts[name, became] += rows

    def _opened(self) -> RowStore:
        if self._store is None:
            self._store = self.open_store()
        if self._store is None:
            raise UnknownPath("The online store keeps no packed rows; push to it with Feast's own push.")
        return self._store

    def _refresh(self) -> None:
        stamp = _stamp(self.path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self.plan = read_push_plan(self.path)
        except ConfigError as error:
            # What could be pushed before still can.
            _logger.warning("%s", error)


def no_pushes() -> Pushes:
    """Take nothing: for a scorer without a repo."""
    return Pushes(Path("/nonexistent"), lambda: None)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_ino)
