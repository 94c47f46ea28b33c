"""Values that move with the question: finished from stored integers when it is asked.

Each body stands alone, imports included, because Feast and the scorer run its text without this
file. Values come as lists, one entry a question; a missing one is None online and NaN offline, and
both must give the same answer. Feast 0.67 compares these fields with those it infers, description
and all, and refuses to apply a described one: the views' descriptions speak for them.
"""

from carrier_views import carrier_arrivals, carrier_origin_departures
from feast import Field, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64
from origin_views import (
    metro_arrivals,
    metro_departures,
    origin_arrivals,
    origin_departures,
    origin_overdue,
)
from route_views import (
    dest_arrivals,
    flight_number_arrivals,
    flight_number_departures,
    route_arrivals,
)
from tail_views import aircraft, tail_leg
from weather_views import weather_report, weather_windows

question = RequestSource(
    name="question",
    schema=[Field(name="question_epoch_us", dtype=Int64)],
    description="When the question was asked, in microseconds since 1970 UTC; the platform fills it in",
    owner="flight-data@example.org",
)

timetable = RequestSource(
    name="timetable",
    schema=[
        Field(name="scheduled_departure_epoch_s", dtype=Int64),
        Field(name="scheduled_arrival_epoch_s", dtype=Int64),
    ],
    description="When the flight is due to leave and to arrive, in seconds since 1970 UTC",
    owner="flight-data@example.org",
)


@on_demand_feature_view(
    name="flight_plan",
    sources=[timetable, aircraft],
    schema=[
        Field(name="flight_local_minute_of_day", dtype=Int64),
        Field(name="flight_local_day_of_week", dtype=Int64),
        Field(name="flight_planned_block_min", dtype=Float64),
        Field(name="aircraft_age_years", dtype=Float64),
    ],
    mode="python",
    description="The flight as planned: minute of the day and day of the week (Monday is 0) at its "
    "departure on New York's clock, planned minutes from gate to gate, and the age of its aircraft",
    owner="flight-data@example.org",
    tags={"team": "flight-data", "pii": "none", "subject": "flight"},
)
def flight_plan(inputs: dict[str, list]) -> dict[str, list]:
    from datetime import datetime
    from zoneinfo import ZoneInfo

    new_york = ZoneInfo("America/New_York")
    departures = inputs["scheduled_departure_epoch_s"]
    arrivals = inputs["scheduled_arrival_epoch_s"]
    clocks = [datetime.fromtimestamp(departure, new_york) for departure in departures]
    return {
        "flight_local_minute_of_day": [clock.hour * 60 + clock.minute for clock in clocks],
        "flight_local_day_of_week": [clock.weekday() for clock in clocks],
        "flight_planned_block_min": [
            (arrival - departure) / 60 for departure, arrival in zip(departures, arrivals, strict=True)
        ],
        "aircraft_age_years": [
            None if made is None else float(clock.year - made)
            for clock, made in zip(clocks, inputs["aircraft_made_year"], strict=True)
        ],
    }


@on_demand_feature_view(
    name="delay_means",
    sources=[
        origin_departures,
        origin_arrivals,
        metro_departures,
        metro_arrivals,
        carrier_arrivals,
        carrier_origin_departures,
        dest_arrivals,
        route_arrivals,
        flight_number_arrivals,
        flight_number_departures,
    ],
    schema=[
        Field(name="origin_departure_delay_mean_min_1h", dtype=Float64),
        Field(name="origin_departures_late_share_1h", dtype=Float64),
        Field(name="origin_departure_delay_mean_min_3h", dtype=Float64),
        Field(name="origin_departures_late_share_3h", dtype=Float64),
        Field(name="origin_departure_delay_mean_min_24h", dtype=Float64),
        Field(name="origin_departures_late_share_24h", dtype=Float64),
        Field(name="origin_departure_delay_mean_min_168h", dtype=Float64),
        Field(name="origin_departures_late_share_168h", dtype=Float64),
        Field(name="origin_arrival_delay_mean_min_3h", dtype=Float64),
        Field(name="origin_arrivals_late_share_3h", dtype=Float64),
        Field(name="origin_arrival_delay_mean_min_24h", dtype=Float64),
        Field(name="origin_arrivals_late_share_24h", dtype=Float64),
        Field(name="metro_departure_delay_mean_min_1h", dtype=Float64),
        Field(name="metro_departures_late_share_1h", dtype=Float64),
        Field(name="metro_departure_delay_mean_min_3h", dtype=Float64),
        Field(name="metro_departures_late_share_3h", dtype=Float64),
        Field(name="metro_arrival_delay_mean_min_1h", dtype=Float64),
        Field(name="metro_arrivals_late_share_1h", dtype=Float64),
        Field(name="metro_arrival_delay_mean_min_3h", dtype=Float64),
        Field(name="metro_arrivals_late_share_3h", dtype=Float64),
        Field(name="carrier_arrival_delay_mean_min_3h", dtype=Float64),
        Field(name="carrier_arrivals_late_share_3h", dtype=Float64),
        Field(name="carrier_arrival_delay_mean_min_24h", dtype=Float64),
        Field(name="carrier_arrivals_late_share_24h", dtype=Float64),
        Field(name="carrier_arrival_delay_mean_min_168h", dtype=Float64),
        Field(name="carrier_arrivals_late_share_168h", dtype=Float64),
        Field(name="carrier_origin_departure_delay_mean_min_3h", dtype=Float64),
        Field(name="carrier_origin_departures_late_share_3h", dtype=Float64),
        Field(name="carrier_origin_departure_delay_mean_min_24h", dtype=Float64),
        Field(name="carrier_origin_departures_late_share_24h", dtype=Float64),
        Field(name="carrier_origin_departure_delay_mean_min_168h", dtype=Float64),
        Field(name="carrier_origin_departures_late_share_168h", dtype=Float64),
        Field(name="dest_arrival_delay_mean_min_3h", dtype=Float64),
        Field(name="dest_arrivals_late_share_3h", dtype=Float64),
        Field(name="dest_arrival_delay_mean_min_24h", dtype=Float64),
        Field(name="dest_arrivals_late_share_24h", dtype=Float64),
        Field(name="route_arrival_delay_mean_min_24h", dtype=Float64),
        Field(name="route_arrivals_late_share_24h", dtype=Float64),
        Field(name="route_arrival_delay_mean_min_168h", dtype=Float64),
        Field(name="route_arrivals_late_share_168h", dtype=Float64),
        Field(name="route_arrival_delay_mean_min_672h", dtype=Float64),
        Field(name="route_arrivals_late_share_672h", dtype=Float64),
        Field(name="flight_number_arrival_delay_mean_min_168h", dtype=Float64),
        Field(name="flight_number_arrivals_late_share_168h", dtype=Float64),
        Field(name="flight_number_arrival_delay_mean_min_672h", dtype=Float64),
        Field(name="flight_number_arrivals_late_share_672h", dtype=Float64),
        Field(name="flight_number_departure_delay_mean_min_168h", dtype=Float64),
        Field(name="flight_number_departures_late_share_168h", dtype=Float64),
        Field(name="flight_number_departure_delay_mean_min_672h", dtype=Float64),
        Field(name="flight_number_departures_late_share_672h", dtype=Float64),
    ],
    mode="python",
    description="For each subject and window: the mean delay in minutes, and the share of flights more "
    "than 15 minutes late. Null where the window holds no flight.",
    owner="flight-data@example.org",
    tags={"team": "flight-data", "pii": "none", "subject": "delays"},
)
def delay_means(inputs: dict[str, list]) -> dict[str, list]:
    windows = (
        ("origin", "departure", (1, 3, 24, 168)),
        ("origin", "arrival", (3, 24)),
        ("metro", "departure", (1, 3)),
        ("metro", "arrival", (1, 3)),
        ("carrier", "arrival", (3, 24, 168)),
        ("carrier_origin", "departure", (3, 24, 168)),
        ("dest", "arrival", (3, 24)),
        ("route", "arrival", (24, 168, 672)),
        ("flight_number", "arrival", (168, 672)),
        ("flight_number", "departure", (168, 672)),
    )
    outputs = {}
    for subject, happening, hours in windows:
        for window in hours:
            counts = inputs[f"{subject}_{happening}s_count_{window}h"]
            delays = inputs[f"{subject}_{happening}_delay_sum_min_{window}h"]
            late = inputs[f"{subject}_{happening}s_late_count_{window}h"]
            # None and 0 are false; a NaN count is true, and so is the NaN that it makes of the mean.
            outputs[f"{subject}_{happening}_delay_mean_min_{window}h"] = [
                total / count if count else None for total, count in zip(delays, counts, strict=True)
            ]
            outputs[f"{subject}_{happening}s_late_share_{window}h"] = [
                total / count if count else None for total, count in zip(late, counts, strict=True)
            ]
    return outputs


@on_demand_feature_view(
    name="overdue_age",
    sources=[question, origin_overdue],
    schema=[Field(name="origin_overdue_age_mean_min_3h", dtype=Float64)],
    mode="python",
    description="How long, in the mean, the flights that are due and not gone have been waiting, in "
    "minutes; null where none is waiting",
    owner="flight-data@example.org",
    tags={"team": "flight-data", "pii": "none", "subject": "origin"},
)
def overdue_age(inputs: dict[str, list]) -> dict[str, list]:
    rows = zip(
        inputs["question_epoch_us"],
        inputs["origin_overdue_count_3h"],
        inputs["origin_overdue_due_sum_epoch_s_3h"],
        strict=True,
    )
    # Every whole number here is below 2**53, so integers and the floats that hold them agree.
    return {
        "origin_overdue_age_mean_min_3h": [
            (asked / 1_000_000 * count - due) / (60 * count) if count else None for asked, count, due in rows
        ]
    }


@on_demand_feature_view(
    name="tail_state",
    sources=[question, timetable, tail_leg],
    schema=[
        Field(name="tail_leg_planned_block_min", dtype=Float64),
        Field(name="tail_leg_age_min", dtype=Float64),
        Field(name="tail_leg_overdue_min", dtype=Float64),
        Field(name="tail_leg_delay_so_far_min", dtype=Float64),
        Field(name="tail_slack_min", dtype=Float64),
    ],
    mode="python",
    description="The aircraft's last New York departure seen from the question: its planned minutes from "
    "gate to gate; minutes since it was due; minutes overdue, 0 once it has been seen to leave; "
    "its delay so far (at arrival if known, else at departure, else overdue); and the slack from its "
    "planned arrival to this flight's departure",
    owner="flight-data@example.org",
    tags={"team": "flight-data", "pii": "none", "subject": "tail"},
)
def tail_state(inputs: dict[str, list]) -> dict[str, list]:
    from math import isnan

    def missing(value: float | None) -> bool:
        return value is None or isnan(value)

    names = (
        "tail_leg_planned_block_min",
        "tail_leg_age_min",
        "tail_leg_overdue_min",
        "tail_leg_delay_so_far_min",
        "tail_slack_min",
    )
    outputs = {name: [] for name in names}
    rows = zip(
        inputs["question_epoch_us"],
        inputs["scheduled_departure_epoch_s"],
        inputs["tail_leg_scheduled_departure_epoch_s"],
        inputs["tail_leg_scheduled_arrival_epoch_s"],
        inputs["tail_leg_departure_delay_min"],
        inputs["tail_leg_arrival_delay_min"],
        strict=True,
    )
    for asked, departure, leg_due, leg_arrival, left_late, arrived_late in rows:
        if missing(leg_due):
            values = (None, None, None, None, None)
        else:
            age = (asked / 1_000_000 - leg_due) / 60
            overdue = age if missing(left_late) else 0.0
            if not missing(arrived_late):
                so_far = float(arrived_late)
            else:
                so_far = age if missing(left_late) else float(left_late)
            block = (leg_arrival - leg_due) / 60
            values = (block, age, overdue, so_far, (departure - leg_arrival) / 60)
        for name, value in zip(names, values, strict=True):
            outputs[name].append(value)
    return outputs


@on_demand_feature_view(
    name="weather_state",
    sources=[question, weather_report, weather_windows],
    schema=[
        Field(name="weather_age_min", dtype=Float64),
        Field(name="weather_wind_speed_mean_kt_3h", dtype=Float64),
        Field(name="weather_precipitation_mean_in_3h", dtype=Float64),
        Field(name="weather_visibility_mean_mi_3h", dtype=Float64),
        Field(name="weather_pressure_mean_hpa_3h", dtype=Float64),
        Field(name="weather_wind_speed_mean_kt_12h", dtype=Float64),
        Field(name="weather_precipitation_mean_in_12h", dtype=Float64),
        Field(name="weather_visibility_mean_mi_12h", dtype=Float64),
        Field(name="weather_pressure_mean_hpa_12h", dtype=Float64),
    ],
    mode="python",
    description="Minutes since the label of the last known report, and the means of the reports known in "
    "the last 3 and 12 hours; null where there is none",
    owner="flight-data@example.org",
    tags={"team": "flight-data", "pii": "none", "subject": "weather"},
)
def weather_state(inputs: dict[str, list]) -> dict[str, list]:
    # Output, stored unit, and how many of the stored unit make one of the output's.
    measures = (
        ("wind_speed", "kt", "kt", 1),
        ("precipitation", "in", "in100", 100),
        ("visibility", "mi", "mi100", 100),
        ("pressure", "hpa", "dhpa", 10),
    )
    outputs = {
        "weather_age_min": [
            None if label is None else (asked / 1_000_000 - label) / 60
            for asked, label in zip(inputs["question_epoch_us"], inputs["weather_label_epoch_s"], strict=True)
        ]
    }
    for window in (3, 12):
        for measure, unit, stored, scale in measures:
            counts = inputs[f"weather_{measure}_count_{window}h"]
            totals = inputs[f"weather_{measure}_sum_{stored}_{window}h"]
            outputs[f"weather_{measure}_mean_{unit}_{window}h"] = [
                total / (scale * count) if count else None
                for total, count in zip(totals, counts, strict=True)
            ]
    return outputs
