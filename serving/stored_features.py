"""What stands in for features that cannot be had: by the model's own choice, and told each time."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from knownat.contract.read_plan import ReadPlan, ReadResult, Status
from knownat.stores.packed_read import JointRead, OneRow
from serving.errors import StoreUnavailable
from serving.reading import Features, PackedFeatures, ReadFailed

_logger = logging.getLogger(__name__)

WhenStoreFails = Literal["refuse", "nulls", "last_known"]
Key = tuple[object, ...]

# While a store does not answer, one request in so long finds out whether it does again.
_ASK_AGAIN_SECONDS = 0.25
_REMEMBERED_ROWS = 10_000
# Valid keys that no entity has; reading them proves the store without touching anyone's row.
_NOBODY: Mapping[str, str | int] = {"string": "\x01nobody", "int64": -(2**63)}


class StoredFeatures:
    """Reads a release's features, or says what stands in for them.

    ``last_known`` keeps the rows of the last 10 000 entities that were read one by one.
    """

    def __init__(
        self, name: str, plan: ReadPlan, inner: Features, when_store_fails: WhenStoreFails = "refuse"
    ) -> None:
        self._name = name
        self._plan = plan
        self._inner = inner
        self._policy = when_store_fails
        self._known: OrderedDict[Key, OneRow] = OrderedDict()
        self._ask_again_at: float | None = None
        self._why = ""
        self.waits = inner.waits
        self.failures = 0
        """Reads that failed, and those that were not even tried."""

    async def one(self, keys: Mapping[str, object], now_us: int, seconds: float) -> OneRow:
        """Read one row, or give what the model's policy puts in its place.

        Raises
        ------
        StoreUnavailable
            If it could not be read and the policy has nothing to put in its place.
        """
        if self._resting():
            return self._instead(keys, now_us, self._why)
        try:
            return self._read(keys, await self._inner.one(keys, now_us, seconds))
        except ReadFailed as error:
            self._note(error)
            return self._instead(keys, now_us, str(error))

    def many(self, keys: Mapping[str, Sequence[object]], now_us: int) -> ReadResult:
        """Read n rows, or give what the policy puts in their place; raises the same as :meth:`one`."""
        if self._resting():
            return self._all_instead(keys, now_us, self._why)
        try:
            found = self._inner.many(keys, now_us)
        except ReadFailed as error:
            self._note(error)
            if not error.store and self._policy != "refuse":
                return self._row_by_row(keys, now_us)
            return self._all_instead(keys, now_us, str(error))
        if self._ask_again_at is not None:
            self._recover()
        return found

    async def problem(self, now_us: int, seconds: float) -> str | None:
        """Return why the views cannot be read now, by reading a row that nobody has."""
        keys = {name: _NOBODY[dtype] for name, dtype in self._plan.request_keys.items()}
        try:
            found = await self._inner.one(keys, now_us, seconds)
        except ReadFailed as error:
            return f"not readable: {error}"
        places = zip(self._plan.views, found.status, strict=True)
        views = [view.name for view, status in places if status is Status.UNAVAILABLE]
        return f"views {views} cannot be read" if views else None

    def _resting(self) -> bool:
        """Whether the store is known not to answer, and it is not yet time to ask again."""
        if self._ask_again_at is None:
            return False
        now = time.monotonic()
        if now < self._ask_again_at:
            return True
        # This request asks; those that come while it waits do not.
        self._ask_again_at = now + _ASK_AGAIN_SECONDS
        return False

    def _read(self, keys: Mapping[str, object], row: OneRow) -> OneRow:
        """Take in that a row could be read."""
        if self._ask_again_at is not None:
            self._recover()
        if self._policy == "last_known":
            self._remember((*keys.values(),), row)
        return row

    def _note(self, error: ReadFailed) -> None:
        why = str(error)
        if why != self._why:
            _logger.warning("%s: features cannot be read: %s", self._name, why)
        self._why = why
        if error.store:
            self._ask_again_at = time.monotonic() + _ASK_AGAIN_SECONDS

    def _recover(self) -> None:
        _logger.warning("%s: features can be read again", self._name)
        self._ask_again_at = None
        self._why = ""

    def _remember(self, key: Key, row: OneRow) -> None:
        self._known[key] = row
        self._known.move_to_end(key)
        if len(self._known) > _REMEMBERED_ROWS:
            self._known.popitem(last=False)

    def _instead(self, keys: Mapping[str, object], now_us: int, why: str) -> OneRow:
        self.failures += 1
        if self._policy == "nulls":
            return _nothing(self._plan)
        known = self._known.get((*keys.values(),))
        if known is None:
            raise StoreUnavailable(f"The features of '{self._name}' could not be read: {why}.")
        return _as_last_known(self._plan, known, now_us)

    def _row_by_row(self, keys: Mapping[str, Sequence[object]], now_us: int) -> ReadResult:
        """Let one row that cannot be trusted cost no other row its features."""
        rows = []
        for values in zip(*keys.values(), strict=True):
            asked = dict(zip(keys, values, strict=True))
            try:
                found = self._inner.many({name: [value] for name, value in asked.items()}, now_us)
            except ReadFailed as error:
                rows.append(self._instead(asked, now_us, str(error)))
            else:
                rows.append(_only_row(self._plan, found))
        return _together(self._plan, rows)

    def _all_instead(self, keys: Mapping[str, Sequence[object]], now_us: int, why: str) -> ReadResult:
        by_row = zip(*keys.values(), strict=True) if keys else ()
        return _together(
            self._plan, [self._instead(dict(zip(keys, row, strict=True)), now_us, why) for row in by_row]
        )


class JointFeatures(StoredFeatures):
    """Stored features of which several questions may be read together, without a task or a thread."""

    def __init__(
        self, name: str, plan: ReadPlan, inner: PackedFeatures, when_store_fails: WhenStoreFails = "refuse"
    ) -> None:
        super().__init__(name, plan, inner, when_store_fails)
        self._packed = inner

    def together(
        self,
        asked: Sequence[Mapping[str, object]],
        seconds: float,
        then: Callable[[JointRead | ReadFailed], None],
    ) -> None:
        """Read a row for each question; what is handed on, at once or in time, is for :meth:`row`."""
        if self._resting():
            then(ReadFailed(self._why, store=False))
        else:
            self._packed.together(asked, seconds, then)

    def row(
        self, keys: Mapping[str, object], now_us: int, found: JointRead | ReadFailed, place: int
    ) -> OneRow | None:
        """Take one row of those, or what the policy puts in its place; raises the same as :meth:`one`.

        None is for a row that must be read by :meth:`one`.
        """
        try:
            if isinstance(found, ReadFailed):
                raise found
            row = self._packed.row(found, place, now_us)
        except ReadFailed as error:
            self._note(error)
            return self._instead(keys, now_us, str(error))
        return None if row is None else self._read(keys, row)


def stored_features(
    name: str, plan: ReadPlan, inner: Features, when_store_fails: WhenStoreFails
) -> StoredFeatures:
    """Give a release's features what stands in for them, and the ways to be asked that they have."""
    if isinstance(inner, PackedFeatures):
        return JointFeatures(name, plan, inner, when_store_fails)
    return StoredFeatures(name, plan, inner, when_store_fails)


def _nothing(plan: ReadPlan) -> OneRow:
    values = sum(len(view.features) for view in plan.views)
    views = len(plan.views)
    return OneRow([None] * values, [None] * views, [None] * views, [Status.UNAVAILABLE] * views)


def _as_last_known(plan: ReadPlan, known: OneRow, now_us: int) -> OneRow:
    """Keep of a row what its ttl still allows; what was not there then cannot be told now."""
    row = _nothing(plan)
    first = 0
    for place, view in enumerate(plan.views):
        end = first + len(view.features)
        event = known.event_us[place]
        alive = event is not None and (not view.ttl_us or event >= now_us - view.ttl_us)
        if known.status[place] is Status.PRESENT and alive:
            row.values[first:end] = known.values[first:end]
            row.event_us[place], row.created_us[place] = event, known.created_us[place]
            row.status[place] = Status.LAST_KNOWN
        first = end
    return row


def _only_row(plan: ReadPlan, found: ReadResult) -> OneRow:
    views = [view.name for view in plan.views]
    return OneRow(
        [found.values[view.column(f.name)][0] for view in plan.views for f in view.features],
        [found.event_us[view][0] for view in views],
        [found.created_us[view][0] for view in views],
        [found.status[view][0] for view in views],
    )


def _together(plan: ReadPlan, rows: Sequence[OneRow]) -> ReadResult:
    names = [view.column(f.name) for view in plan.views for f in view.features]
    views = [view.name for view in plan.views]
    return ReadResult(
        {name: [row.values[i] for row in rows] for i, name in enumerate(names)},
        {view: [row.event_us[i] for row in rows] for i, view in enumerate(views)},
        {view: [row.created_us[i] for row in rows] for i, view in enumerate(views)},
        {view: [row.status[i] for row in rows] for i, view in enumerate(views)},
    )
