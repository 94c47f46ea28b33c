"""How an airline is doing, everywhere and at one New York airport."""

from datetime import timedelta

from entities import carrier, origin
from feast import FeatureView
from sources import carrier_arrivals_table, carrier_origin_departures_table
from window_fields import window_fields

# A row stays true until the next one: its windows have decayed to zero by then if nothing happened,
# and the smallest carrier flies a few times a month. Any ttl would turn a true 'no flights' into a
# null, so whether the pipeline still runs is read from the watermark, not from a row's age.
_TRUE_UNTIL_THE_NEXT_ROW = timedelta(0)

carrier_arrivals = FeatureView(
    name="carrier_arrivals",
    entities=[carrier],
    ttl=_TRUE_UNTIL_THE_NEXT_ROW,
    schema=window_fields("carrier", "arrival", hours=(3, 24, 168)),
    source=carrier_arrivals_table,
    description="Delays at arrival of a carrier's flights from New York, last 3, 24 and 168 hours",
    owner="flight-data@example.org",
    tags={"team": "flight-data", "pii": "none", "subject": "carrier"},
)

carrier_origin_departures = FeatureView(
    name="carrier_origin_departures",
    entities=[carrier, origin],
    ttl=_TRUE_UNTIL_THE_NEXT_ROW,
    schema=window_fields("carrier_origin", "departure", hours=(3, 24, 168)),
    source=carrier_origin_departures_table,
    description="Delays of a carrier's departures from one origin, last 3, 24 and 168 hours",
    owner="flight-data@example.org",
    tags={"team": "flight-data", "pii": "none", "subject": "carrier at origin"},
)
