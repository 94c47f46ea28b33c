"""The fields that every table of windows over flights has."""

from collections.abc import Sequence

from feast import Field
from feast.types import Int64


def window_fields(subject: str, happening: str, *, hours: Sequence[int]) -> list[Field]:
    """List what is stored of each window: a count, a sum of minutes and a count of late ones.

    All are integers, so that a build is exact; means and shares are finished on demand.
    """
    fields = []
    for window in hours:
        span = f"that became known in the last {window} h"
        fields += [
            Field(
                name=f"{subject}_{happening}s_count_{window}h",
                dtype=Int64,
                description=f"Number of {happening}s {span}",
                tags={"unit": "flights"},
            ),
            Field(
                name=f"{subject}_{happening}_delay_sum_min_{window}h",
                dtype=Int64,
                description=f"Sum of the delays of {happening}s {span}; early is negative",
                tags={"unit": "min"},
            ),
            Field(
                name=f"{subject}_{happening}s_late_count_{window}h",
                dtype=Int64,
                description=f"Number of {happening}s {span} and were more than 15 min late",
                tags={"unit": "flights"},
            ),
        ]
    return fields
