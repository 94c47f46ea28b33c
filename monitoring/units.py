"""The unit a column's name ends with: subject, measure, unit, window."""

import re

_SPOKEN = {
    **{unit: unit for unit in ("us", "ms", "s", "min", "h", "days", "weeks", "km", "m", "mi", "ft", "kt")},
    **{unit: unit for unit in ("kg", "g", "lb", "eur", "usd", "gbp", "hpa")},
    "pct": "%",
    "c": "°C",
    "f": "°F",
}
_WINDOW = re.compile(r"\d+(s|min|h|d|w|m|y)$")


def unit_of(column: str) -> str:
    """Return how a column's unit is written; empty for one whose name does not say.

    >>> unit_of("delay_means__origin_departure_delay_mean_min_3h")
    'min'
    >>> unit_of("orders__order_count_30d")
    ''
    """
    words = column.rpartition("__")[2].split("_")
    while len(words) > 1 and _WINDOW.match(words[-1]):
        words.pop()
    return _SPOKEN.get(words[-1], "") if len(words) > 1 else ""
