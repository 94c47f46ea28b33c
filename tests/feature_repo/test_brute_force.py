"""Features of 500 random flights, recomputed by filtering the raw files: no difference."""

import math
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from knownat.stores.pipelines import BuiltTable
from tests.feature_repo.as_of import AsOfTable
from tests.feature_repo.bodies import load_body
from tests.feature_repo.raw_flights import RawFlights, random_flights

HOUR, DAY = 3600, 86_400

Tables = dict[str, BuiltTable]
Subset = Callable[..., pd.DataFrame]


@pytest.fixture(scope="session")
def questions(raw: RawFlights) -> pd.DataFrame:
    return random_flights(raw, count=500)


@pytest.fixture(scope="session")
def flights_of(raw: RawFlights) -> Subset:
    """Raw flights by the values of some columns; the groups are made once for each set of columns."""
    groups: dict[tuple[str, ...], dict] = defaultdict(dict)

    def subset(**values: object) -> pd.DataFrame:
        names = tuple(values)
        if not names:
            return raw.flights
        if not groups[names]:
            groups[names] = dict(iter(raw.flights.groupby(list(names), sort=False)))
        return groups[names].get(tuple(values.values()), raw.flights.iloc[:0])

    return subset


WINDOWS = [
    ("origin", ("origin",), "departure", (1, 3, 24, 168)),
    ("origin", ("origin",), "arrival", (3, 24)),
    ("metro", (), "departure", (1, 3)),
    ("metro", (), "arrival", (1, 3)),
    ("carrier", ("carrier",), "arrival", (3, 24, 168)),
    ("carrier_origin", ("carrier", "origin"), "departure", (3, 24, 168)),
    ("dest", ("dest",), "arrival", (3, 24)),
    ("route", ("origin", "dest"), "arrival", (24, 168, 672)),
    ("flight_number", ("carrier", "flight", "origin", "dest"), "arrival", (168, 672)),
    ("flight_number", ("carrier", "flight", "origin", "dest"), "departure", (168, 672)),
]


@pytest.mark.parametrize(
    ("subject", "keys", "happening", "hours"), WINDOWS, ids=[f"{w[0]}_{w[2]}s" for w in WINDOWS]
)
def test_windows_hold_the_delays_known_in_them(
    tables: Tables, questions: pd.DataFrame, flights_of: Subset,
    subject: str, keys: tuple[str, ...], happening: str, hours: tuple[int, ...],
) -> None:  # fmt: skip
    table = AsOfTable(tables[f"{subject}_{happening}s"], *(keys or ("metro",)))
    known_at, delay = {"departure": ("departed", "dep_delay"), "arrival": ("arrived", "arr_delay")}[happening]
    for flight in questions.to_dict("records"):
        values = {key: flight[key] for key in keys}
        now = flight["question"]
        row = table.newest(*(values.values() or ["NYC"]), at_s=now)
        others = flights_of(**values)
        known, delays = others[known_at].to_numpy(), others[delay].to_numpy()
        for window in hours:
            expected = delays[(known > now - window * HOUR) & (known <= now)]
            stored = (
                row[f"{subject}_{happening}s_count_{window}h"],
                row[f"{subject}_{happening}_delay_sum_min_{window}h"],
                row[f"{subject}_{happening}s_late_count_{window}h"],
            )
            assert stored == (len(expected), expected.sum(), (expected > 15).sum()), (values, now, window)


def test_overdue_flights_are_due_and_not_gone(
    repo: Path, tables: Tables, questions: pd.DataFrame, flights_of: Subset
) -> None:
    table = AsOfTable(tables["origin_overdue"], "origin")
    overdue_age = load_body(repo, "overdue_age")
    for flight in questions.to_dict("records"):
        now = flight["question"]
        others = flights_of(origin=flight["origin"])
        due = others["scheduled"].to_numpy()
        gone = others["departed"].to_numpy() <= now
        waiting = due[(due > now - 3 * HOUR) & (due <= now) & ~gone]
        row = table.newest(flight["origin"], at_s=now)
        assert row["origin_overdue_count_3h"] == len(waiting)
        (age,) = overdue_age({"question_epoch_us": [now * 1_000_000]} | {k: [v] for k, v in row.items()})[
            "origin_overdue_age_mean_min_3h"
        ]
        expected = None if not len(waiting) else float((now - waiting).sum() / (60 * len(waiting)))
        assert age == expected, (flight["origin"], now)


def test_a_tail_shows_its_last_leg_as_far_as_it_is_known(
    tables: Tables, questions: pd.DataFrame, flights_of: Subset
) -> None:
    table = AsOfTable(tables["tail_leg"], "tailnum")
    compared = 0
    for flight in questions[questions["tailnum"].notna()].to_dict("records"):
        now = flight["question"]
        legs = flights_of(tailnum=flight["tailnum"]).copy()
        legs["begins"] = np.fmin(legs["scheduled"], legs["departed"])
        legs = legs[legs["begins"] <= now].sort_values(["begins", "scheduled"])
        row = table.newest(flight["tailnum"], at_s=now)
        if legs.empty:
            assert row == {}
            continue
        leg = legs.iloc[-1]
        expected = (
            leg["scheduled"],
            leg["planned_arrival"],
            leg["dep_delay"] if leg["departed"] <= now else math.nan,
            leg["arr_delay"] if leg["arrived"] <= now else math.nan,
        )
        stored = (
            row["tail_leg_scheduled_departure_epoch_s"],
            row["tail_leg_scheduled_arrival_epoch_s"],
            row["tail_leg_departure_delay_min"],
            row["tail_leg_arrival_delay_min"],
        )
        np.testing.assert_array_equal(stored, expected, err_msg=f"{flight['tailnum']} at {now}")
        compared += 1
    assert compared > 400


def test_planned_load_counts_the_flights_published_for_the_hour(
    tables: Tables, questions: pd.DataFrame, flights_of: Subset
) -> None:
    table = AsOfTable(tables["origin_hour"], "origin", "scheduled_hour_epoch_s")
    for flight in questions.to_dict("records"):
        now, hour = flight["question"], flight["scheduled"] // HOUR * HOUR
        due = flights_of(origin=flight["origin"])["scheduled"].to_numpy()
        expected = ((due >= hour) & (due < hour + HOUR) & (due - DAY <= now)).sum()
        row = table.newest(flight["origin"], hour, at_s=now)
        assert row["origin_hour_planned_departures_count"] == expected


def test_weather_is_the_last_report_known_an_hour_after_its_label(
    tables: Tables, questions: pd.DataFrame, raw: RawFlights
) -> None:
    table = AsOfTable(tables["weather_report"], "origin")
    for flight in questions.to_dict("records"):
        now = flight["question"]
        reports = raw.weather[
            (raw.weather["origin"] == flight["origin"]) & (raw.weather["label"] + HOUR <= now)
        ]
        row = table.newest(flight["origin"], at_s=now)
        if reports.empty:
            assert row == {}
            continue
        report = reports.sort_values("label").iloc[-1]
        stored = (
            row["weather_label_epoch_s"],
            row["weather_temperature_dc"] / 10 * 1.8 + 32,
            row["weather_visibility_mi100"] / 100,
            row["weather_wind_speed_kt"] * 1.15078,
            row["weather_wind_direction_deg"],
        )
        speed = report["wind_speed"] if report["wind_speed"] < 1_000 else math.nan
        expected = (report["label"], report["temp"], report["visib"], speed, report["wind_dir"])
        np.testing.assert_allclose(stored, expected, rtol=1e-12, err_msg=f"{flight['origin']} at {now}")


@pytest.mark.parametrize("hours", [3, 12])
def test_weather_means_are_over_the_reports_known_in_the_window(
    repo: Path, tables: Tables, questions: pd.DataFrame, raw: RawFlights, hours: int
) -> None:
    table = AsOfTable(tables["weather_windows"], "origin")
    weather_state = load_body(repo, "weather_state")
    measures = {"wind_speed_mean_kt": ("wind_speed", 1.15078), "visibility_mean_mi": ("visib", 1),
                "pressure_mean_hpa": ("pressure", 1), "precipitation_mean_in": ("precip", 1)}  # fmt: skip
    for flight in questions.to_dict("records"):
        now = flight["question"]
        known_at = raw.weather["label"] + HOUR
        window = (
            (raw.weather["origin"] == flight["origin"]) & (known_at > now - hours * HOUR) & (known_at <= now)
        )
        reports = raw.weather[
            window & (raw.weather["wind_speed"].isna() | (raw.weather["wind_speed"] < 1_000))
        ]
        row = table.newest(flight["origin"], at_s=now)
        asked = {"question_epoch_us": [now * 1_000_000], "weather_label_epoch_s": [None]}
        found = weather_state(asked | {name: [value] for name, value in row.items()})
        for name, (column, scale) in measures.items():
            values = (
                reports[column].dropna() if column == "wind_speed" else raw.weather[window][column].dropna()
            )
            expected = None if values.empty else pytest.approx(values.mean() / scale, rel=1e-9, abs=1e-12)
            assert found[f"weather_{name}_{hours}h"] == [expected], (flight["origin"], now)


def test_aircraft_and_route_are_what_the_register_and_the_timetable_say(
    tables: Tables, questions: pd.DataFrame, raw: RawFlights, flights_of: Subset
) -> None:
    aircraft = AsOfTable(tables["aircraft"], "tailnum")
    routes = AsOfTable(tables["route_distance"], "origin", "dest")
    planes = raw.planes.set_index("tailnum")
    for flight in questions.to_dict("records"):
        now = flight["question"]
        others = flights_of(origin=flight["origin"], dest=flight["dest"])
        published = others[others["scheduled"] - DAY <= now].sort_values("scheduled")
        row = routes.newest(flight["origin"], flight["dest"], at_s=now)
        assert row["route_distance_mi"] == published["distance"].iloc[-1]
        row = aircraft.newest(flight["tailnum"], at_s=now)
        if flight["tailnum"] not in planes.index:
            assert row == {}
            continue
        plane = planes.loc[flight["tailnum"]]
        stored = (row["aircraft_made_year"], row["aircraft_seats_count"])
        np.testing.assert_array_equal(stored, (plane["year"], plane["seats"]))


def test_means_and_shares_are_the_stored_sums_over_the_stored_counts(
    repo: Path, tables: Tables, questions: pd.DataFrame, flights_of: Subset
) -> None:
    table = AsOfTable(tables["dest_arrivals"], "dest")
    body = load_body(repo, "delay_means")
    for flight in questions.to_dict("records"):
        now = flight["question"]
        row = table.newest(flight["dest"], at_s=now)
        found = body(defaultdict(lambda: [None], {name: [value] for name, value in row.items()}))
        others = flights_of(dest=flight["dest"])
        window = others[(others["arrived"] > now - DAY) & (others["arrived"] <= now)]["arr_delay"]
        mean = None if window.empty else window.sum() / len(window)
        share = None if window.empty else (window > 15).sum() / len(window)
        assert found["dest_arrival_delay_mean_min_24h"] == [mean]
        assert found["dest_arrivals_late_share_24h"] == [share]
