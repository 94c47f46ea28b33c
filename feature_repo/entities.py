"""What features are about. Join keys are the names that questions and requests use."""

from feast import Entity, ValueType

_OWNER = "flight-data@example.org"
_TAGS = {"team": "flight-data", "pii": "none"}

origin = Entity(
    name="origin",
    join_keys=["origin"],
    value_type=ValueType.STRING,
    description="The New York airport a flight leaves from: EWR, JFK or LGA",
    owner=_OWNER,
    tags=_TAGS,
)

# An entity of its own, and not the sum of three others: the airports share one airspace.
metro = Entity(
    name="metro",
    join_keys=["metro"],
    value_type=ValueType.STRING,
    description="The city whose airports share one airspace; here always NYC",
    owner=_OWNER,
    tags=_TAGS,
)

destination = Entity(
    name="destination",
    join_keys=["dest"],
    value_type=ValueType.STRING,
    description="The airport a flight goes to, by its three letters",
    owner=_OWNER,
    tags=_TAGS,
)

carrier = Entity(
    name="carrier",
    join_keys=["carrier"],
    value_type=ValueType.STRING,
    description="The airline, by its two letters; with an origin, its operation at that airport",
    owner=_OWNER,
    tags=_TAGS,
)

flight_number = Entity(
    name="flight_number",
    join_keys=["flight"],
    value_type=ValueType.INT64,
    description="A carrier's flight number; it names a service only together with carrier and route",
    owner=_OWNER,
    tags=_TAGS,
)

# Every flight without a tail number was cancelled later, so a model must never learn from a missing
# one: models train on labelled flights, and each of those has a tail.
tail = Entity(
    name="tail",
    join_keys=["tailnum"],
    value_type=ValueType.STRING,
    description="One aircraft, by its tail number; it names a machine, not a person",
    owner=_OWNER,
    tags=_TAGS,
)

scheduled_hour = Entity(
    name="scheduled_hour",
    join_keys=["scheduled_hour_epoch_s"],
    value_type=ValueType.INT64,
    description="The hour a flight is due to leave in: its first second, in seconds since 1970 UTC",
    owner=_OWNER,
    tags=_TAGS,
)
