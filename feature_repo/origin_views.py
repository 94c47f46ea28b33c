"""What goes on at the airport a flight leaves from, and in the city around it."""

from datetime import timedelta

from entities import metro, origin, scheduled_hour
from feast import FeatureView, Field
from feast.types import Int64
from sources import (
    metro_arrivals_table,
    metro_departures_table,
    origin_arrivals_table,
    origin_departures_table,
    origin_hour_table,
    origin_overdue_table,
)
from window_fields import window_fields

# The longest time in which nothing changes at an origin is 18.7 h, so a row older than two days
# means that the pipeline has stopped, and its counts are no longer true.
_QUIET_AT_MOST = timedelta(days=2)

origin_departures = FeatureView(
    name="origin_departures",
    entities=[origin],
    ttl=_QUIET_AT_MOST,
    schema=window_fields("origin", "departure", hours=(1, 3, 24, 168)),
    source=origin_departures_table,
    description="Delays of the departures known from an origin in the last 1, 3, 24 and 168 hours",
    owner="flight-data@example.org",
    tags={"team": "flight-data", "pii": "none", "subject": "origin"},
)

origin_arrivals = FeatureView(
    name="origin_arrivals",
    entities=[origin],
    ttl=_QUIET_AT_MOST,
    schema=window_fields("origin", "arrival", hours=(3, 24)),
    source=origin_arrivals_table,
    description="Delays, at their destinations, of an origin's flights known to have arrived",
    owner="flight-data@example.org",
    tags={"team": "flight-data", "pii": "none", "subject": "origin"},
)

origin_overdue = FeatureView(
    name="origin_overdue",
    entities=[origin],
    ttl=_QUIET_AT_MOST,
    schema=[
        Field(
            name="origin_overdue_count_3h",
            dtype=Int64,
            description="Flights due in the last 3 h that have not been seen to leave",
            tags={"unit": "flights"},
        ),
        Field(
            name="origin_overdue_due_sum_epoch_s_3h",
            dtype=Int64,
            description="Sum of the times they were due; their mean age is finished on demand",
            tags={"unit": "s since 1970"},
        ),
    ],
    source=origin_overdue_table,
    description="Flights that should have left and have not been seen to: the earliest sign of trouble",
    owner="flight-data@example.org",
    tags={"team": "flight-data", "pii": "none", "subject": "origin"},
)

origin_hour = FeatureView(
    name="origin_hour",
    entities=[origin, scheduled_hour],
    # A published plan stays the plan: no age makes it untrue.
    ttl=timedelta(0),
    schema=[
        Field(
            name="origin_hour_planned_departures_count",
            dtype=Int64,
            description="Departures published for the flight's hour, a day ahead",
            tags={"unit": "flights"},
        ),
        Field(
            name="origin_hour_until_holiday_days",
            dtype=Int64,
            description="Days, in New York, until the next federal holiday; 0 on one",
            tags={"unit": "days"},
        ),
        Field(
            name="origin_hour_since_holiday_days",
            dtype=Int64,
            description="Days, in New York, since the last federal holiday; 0 on one",
            tags={"unit": "days"},
        ),
    ],
    source=origin_hour_table,
    description="The planned load of an origin's hour, and how near a holiday it lies",
    owner="flight-data@example.org",
    tags={"team": "flight-data", "pii": "none", "subject": "origin"},
)

metro_departures = FeatureView(
    name="metro_departures",
    entities=[metro],
    ttl=_QUIET_AT_MOST,
    schema=window_fields("metro", "departure", hours=(1, 3)),
    source=metro_departures_table,
    description="Delays of the departures known from all New York airports together",
    owner="flight-data@example.org",
    tags={"team": "flight-data", "pii": "none", "subject": "metro"},
)

metro_arrivals = FeatureView(
    name="metro_arrivals",
    entities=[metro],
    ttl=_QUIET_AT_MOST,
    schema=window_fields("metro", "arrival", hours=(1, 3)),
    source=metro_arrivals_table,
    description="Delays, at their destinations, of all New York's flights known to have arrived",
    owner="flight-data@example.org",
    tags={"team": "flight-data", "pii": "none", "subject": "metro"},
)
