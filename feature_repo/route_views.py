"""Where a flight goes: its destination, its route, and its flight number's own record."""

from datetime import timedelta

from entities import carrier, destination, flight_number, origin
from feast import FeatureView, Field
from feast.types import Int64
from sources import (
    dest_arrivals_table,
    flight_number_arrivals_table,
    flight_number_departures_table,
    route_arrivals_table,
    route_distance_table,
)
from window_fields import window_fields

# Most routes and numbers fly once a day or less. Their windows decay to zero by themselves, so the
# last row stays true however old it is; a ttl would turn a true 'no flights' into a null.
_TRUE_UNTIL_THE_NEXT_ROW = timedelta(0)

dest_arrivals = FeatureView(
    name="dest_arrivals",
    entities=[destination],
    ttl=_TRUE_UNTIL_THE_NEXT_ROW,
    schema=window_fields("dest", "arrival", hours=(3, 24)),
    source=dest_arrivals_table,
    description="Delays of New York's flights at one destination, last 3 and 24 hours",
    owner="flight-data@example.org",
    tags={"team": "flight-data", "pii": "none", "subject": "destination"},
)

route_arrivals = FeatureView(
    name="route_arrivals",
    entities=[origin, destination],
    ttl=_TRUE_UNTIL_THE_NEXT_ROW,
    schema=window_fields("route", "arrival", hours=(24, 168, 672)),
    source=route_arrivals_table,
    description="Delays at arrival on one route, last day, week and four weeks",
    owner="flight-data@example.org",
    tags={"team": "flight-data", "pii": "none", "subject": "route"},
)

route_distance = FeatureView(
    name="route_distance",
    entities=[origin, destination],
    ttl=_TRUE_UNTIL_THE_NEXT_ROW,
    schema=[
        Field(
            name="route_distance_mi",
            dtype=Int64,
            description="Published distance between the two airports",
            tags={"unit": "mi"},
        ),
    ],
    source=route_distance_table,
    description="The published distance of a route",
    owner="flight-data@example.org",
    tags={"team": "flight-data", "pii": "none", "subject": "route"},
)

flight_number_arrivals = FeatureView(
    name="flight_number_arrivals",
    entities=[carrier, flight_number, origin, destination],
    ttl=_TRUE_UNTIL_THE_NEXT_ROW,
    schema=window_fields("flight_number", "arrival", hours=(168, 672)),
    source=flight_number_arrivals_table,
    description="Delays at arrival of one flight number on its route, last week and four weeks",
    owner="flight-data@example.org",
    tags={"team": "flight-data", "pii": "none", "subject": "flight number"},
)

flight_number_departures = FeatureView(
    name="flight_number_departures",
    entities=[carrier, flight_number, origin, destination],
    ttl=_TRUE_UNTIL_THE_NEXT_ROW,
    schema=window_fields("flight_number", "departure", hours=(168, 672)),
    source=flight_number_departures_table,
    description="Delays at departure of one flight number on its route, last week and four weeks",
    owner="flight-data@example.org",
    tags={"team": "flight-data", "pii": "none", "subject": "flight number"},
)
