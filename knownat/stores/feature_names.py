"""What a feature's name says: its unit and its window, as subject_measure_unit_window has them."""

import re

# Words that a person reads as a unit, by what the name ends its measure with.
UNITS = {
    "count": "a count",
    "share": "a share, 0 to 1",
    "ratio": "a ratio",
    "rate": "a rate",
    "pct": "%",
    "percent": "%",
    "bp": "hundredths of a %",
    "score": "a score",
    "rank": "a rank",
    "index": "an index",
    "level": "a level",
    "code": "a code",
    "flag": "0 or 1",
    "id": "an identifier",
    "us": "µs",
    "ms": "ms",
    "s": "s",
    "sec": "s",
    "seconds": "s",
    "min": "min",
    "minutes": "min",
    "h": "h",
    "hours": "h",
    "day": "days",
    "days": "days",
    "weeks": "weeks",
    "months": "months",
    "year": "a year",
    "years": "years",
    "eur": "EUR",
    "usd": "USD",
    "gbp": "GBP",
    "chf": "CHF",
    "jpy": "JPY",
    "cents": "cents",
    "bytes": "bytes",
    "kb": "kB",
    "mb": "MB",
    "gb": "GB",
    "mm": "mm",
    "cm": "cm",
    "m": "m",
    "km": "km",
    "mi": "miles",
    "mi100": "hundredths of a mile",
    "ft": "ft",
    "in": "inches",
    "in100": "hundredths of an inch",
    "kt": "knots",
    "kmh": "km/h",
    "mph": "miles/h",
    "deg": "degrees",
    "c": "°C",
    "dc": "tenths of a °C",
    "f": "°F",
    "k": "K",
    "hpa": "hPa",
    "dhpa": "tenths of a hPa",
    "g": "g",
    "kg": "kg",
    "t": "t",
    "l": "l",
    "w": "W",
    "kw": "kW",
    "kwh": "kWh",
    "v": "V",
}
_WINDOW = re.compile(r"([0-9]+)(us|ms|s|min|h|d|w|mo|y)")
_WINDOW_WORDS = {
    "min": "minutes",
    "h": "hours",
    "d": "days",
    "w": "weeks",
    "mo": "months",
    "y": "years",
    "s": "seconds",
}


def unit_of(name: str) -> str | None:
    """Read the unit from a feature's name: the last word that is one; None without."""
    words = [word for word in name.split("_") if word != "total" and not _WINDOW.fullmatch(word)]
    if "epoch" in words[:-1]:
        return f"{UNITS.get(words[words.index('epoch') + 1], 's')} since 1970"
    # The first word is the subject, never the unit.
    return next((UNITS[word] for word in reversed(words[1:]) if word in UNITS), None)


def window_of(name: str) -> str | None:
    """Read the window from a feature's name: ``3h`` is ``last 3 hours``; None without."""
    if name.endswith("_total"):
        return "all so far"
    for word in reversed(name.split("_")[1:]):
        match = _WINDOW.fullmatch(word)
        if match and match.group(2) in _WINDOW_WORDS:
            return f"last {match.group(1)} {_WINDOW_WORDS[match.group(2)]}"
    return None
