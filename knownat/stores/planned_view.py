"""One view of a read plan: its rows, its features, and when a row of it may be served."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from knownat.clock import CLOCK_SKEW_US
from knownat.contract.read_plan import PlanView, Status
from knownat.stores.codec import RowField, row_dtype
from knownat.stores.codec_read import Codes
from knownat.stores.found_rows import FoundRows
from knownat.stores.row_keys import ViewName
from knownat.stores.rows import RowReads
from knownat.stores.view_rows import ViewRows

States = npt.NDArray[np.uint8]

STATUS = (Status.NOT_FOUND, Status.PRESENT, Status.EXPIRED, Status.NOT_YET)
"""What the numbers in a matrix' ``status`` stand for."""

NOT_FOUND, PRESENT, EXPIRED, NOT_YET = range(len(STATUS))

NO_TIME = -(2**63)
"""The event and created time in a matrix where a view has no row."""


class PlannedView:
    """What a plan says of one view, laid out for reading."""

    def __init__(
        self, store: RowReads, project: str, view: PlanView, categories: Mapping[str, Sequence[str]]
    ) -> None:
        self.plan = view
        wanted = [RowField(feature.name, row_dtype(feature.dtype)) for feature in view.features]
        keys = {key.view_key: key.dtype for key in view.keys}
        self.rows = ViewRows(store, ViewName(project, view.stored_view), keys=keys, wanted=wanted)
        self.prefix = self.rows.name.prefix
        asked_as = {key.view_key: key.request_key for key in view.keys}
        self.request_keys = tuple(asked_as[name] for name in self.rows.key_order)
        self.columns = tuple(view.column(feature.name) for feature in view.features)
        self.ttl_us = view.ttl_us
        self.nothing: list[object] = [None] * len(wanted)
        self.codes: Codes = {
            feature.name: {text.encode(): float(i) for i, text in enumerate(categories[column])}
            for feature, column in zip(view.features, self.columns, strict=True)
            if column in categories
        }

    def oldest(self, now_us: int) -> int:
        """Return the least event time that is not expired."""
        return now_us - self.ttl_us if self.ttl_us else NO_TIME


def states_of(views: Sequence[PlannedView], found: FoundRows, now_us: int) -> States | None:
    """Number the status of each found row; None if all of them are present."""
    oldest = found.each_view([view.oldest(now_us) for view in views])
    known = found.times.max(axis=0) <= now_us + CLOCK_SKEW_US
    fresh = found.times[0] >= oldest
    if (known & fresh).all():
        return None
    states = np.where(fresh, np.uint8(PRESENT), np.uint8(EXPIRED))
    states[~known] = NOT_YET
    return states
