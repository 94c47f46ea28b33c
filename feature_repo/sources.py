"""Feature tables, as the pipelines write them: one Parquet file each, paths from the repo's root.

Every table has both times: ``event_timestamp``, when a row was true, and ``created_timestamp``,
when the platform could know it.
"""

from feast import FileSource


def feature_table(name: str, description: str) -> FileSource:
    """Name the table that ``pipelines/features/<name>.sql`` makes."""
    return FileSource(
        name=name,
        path=f"data/{name}.parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
        description=description,
        owner="flight-data@example.org",
        tags={"team": "flight-data", "pii": "none"},
    )


aircraft_table = feature_table("aircraft", "The aircraft register, one row an aircraft")
tail_leg_table = feature_table("tail_leg", "Change rows of each aircraft's last New York departure")

origin_hour_table = feature_table("origin_hour", "The published plan of each hour at an origin")
origin_departures_table = feature_table("origin_departures", "Change rows of departure delays at an origin")
origin_arrivals_table = feature_table(
    "origin_arrivals", "Change rows of arrival delays of an origin's flights"
)
origin_overdue_table = feature_table("origin_overdue", "Change rows of flights that are due and not gone")

metro_departures_table = feature_table("metro_departures", "Change rows of departure delays in all New York")
metro_arrivals_table = feature_table(
    "metro_arrivals", "Change rows of arrival delays of all New York's flights"
)

carrier_arrivals_table = feature_table("carrier_arrivals", "Change rows of a carrier's arrival delays")
carrier_origin_departures_table = feature_table(
    "carrier_origin_departures", "Change rows of a carrier's departure delays at an origin"
)

dest_arrivals_table = feature_table("dest_arrivals", "Change rows of arrival delays at a destination")
route_arrivals_table = feature_table("route_arrivals", "Change rows of arrival delays on a route")
route_distance_table = feature_table("route_distance", "The published distance of a route")
flight_number_arrivals_table = feature_table(
    "flight_number_arrivals", "Change rows of a flight number's arrival delays on its route"
)
flight_number_departures_table = feature_table(
    "flight_number_departures", "Change rows of a flight number's departure delays on its route"
)

weather_report_table = feature_table("weather_report", "Hourly reports; each known an hour after its label")
weather_windows_table = feature_table("weather_windows", "Change rows of the reports of the last hours")
