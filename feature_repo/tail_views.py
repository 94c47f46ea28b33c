"""The aircraft itself: what it is, and where it comes from."""

from datetime import timedelta

from entities import tail
from feast import FeatureView, Field
from feast.types import Int64, String
from sources import aircraft_table, tail_leg_table

aircraft = FeatureView(
    name="aircraft",
    entities=[tail],
    # What the register says of an aircraft does not grow old.
    ttl=timedelta(0),
    schema=[
        Field(
            name="aircraft_made_year",
            dtype=Int64,
            description="Year of manufacture; its age is finished on demand",
            tags={"unit": "year"},
        ),
        Field(
            name="aircraft_seats_count",
            dtype=Int64,
            description="Seats of its type",
            tags={"unit": "seats"},
        ),
        Field(
            name="aircraft_maker",
            dtype=String,
            description="Manufacturer, its successive company names joined; OTHER for the rare ones",
            tags={"unit": "name"},
        ),
    ],
    source=aircraft_table,
    description="The aircraft register; about one tail number in six is not in it",
    owner="flight-data@example.org",
    tags={"team": "flight-data", "pii": "none", "subject": "tail"},
)

tail_leg = FeatureView(
    name="tail_leg",
    entities=[tail],
    # An aircraft that has not left New York for two weeks carries no delay over from there.
    ttl=timedelta(days=14),
    schema=[
        Field(
            name="tail_leg_scheduled_departure_epoch_s",
            dtype=Int64,
            description="When its last New York departure was due",
            tags={"unit": "s since 1970"},
        ),
        Field(
            name="tail_leg_scheduled_arrival_epoch_s",
            dtype=Int64,
            description="When that leg was due at its destination",
            tags={"unit": "s since 1970"},
        ),
        Field(
            name="tail_leg_departure_delay_min",
            dtype=Int64,
            description="That leg's delay at departure; null until it is seen to leave",
            tags={"unit": "min"},
        ),
        Field(
            name="tail_leg_arrival_delay_min",
            dtype=Int64,
            description="That leg's delay at arrival; null until it is seen to arrive",
            tags={"unit": "min"},
        ),
    ],
    source=tail_leg_table,
    description="The last New York departure of an aircraft, as far as it is known. Only departures "
    "from New York exist, so the leg that brought it back is not seen.",
    owner="flight-data@example.org",
    tags={"team": "flight-data", "pii": "none", "subject": "tail"},
)
