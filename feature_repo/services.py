"""What the models ask for: two teams, two models, one set of views."""

from carrier_views import carrier_arrivals, carrier_origin_departures
from feast import FeatureService
from on_demand import delay_means, flight_plan, overdue_age, tail_state, weather_state
from origin_views import (
    metro_arrivals,
    metro_departures,
    origin_arrivals,
    origin_departures,
    origin_hour,
    origin_overdue,
)
from route_views import (
    dest_arrivals,
    flight_number_arrivals,
    flight_number_departures,
    route_arrivals,
    route_distance,
)
from tail_views import aircraft, tail_leg
from weather_views import weather_report

# Sums are read by the on-demand views and are no features themselves; counts are.
flight_features = [
    flight_plan,
    origin_hour,
    route_distance,
    aircraft[["aircraft_seats_count", "aircraft_maker"]],
    origin_overdue[["origin_overdue_count_3h"]],
    overdue_age,
    tail_leg[["tail_leg_departure_delay_min", "tail_leg_arrival_delay_min"]],
    tail_state,
    delay_means,
    origin_departures[
        [
            "origin_departures_count_1h",
            "origin_departures_count_3h",
            "origin_departures_count_24h",
            "origin_departures_count_168h",
        ]
    ],
    origin_arrivals[["origin_arrivals_count_3h", "origin_arrivals_count_24h"]],
    metro_departures[["metro_departures_count_1h", "metro_departures_count_3h"]],
    metro_arrivals[["metro_arrivals_count_1h", "metro_arrivals_count_3h"]],
    carrier_arrivals[
        ["carrier_arrivals_count_3h", "carrier_arrivals_count_24h", "carrier_arrivals_count_168h"]
    ],
    carrier_origin_departures[
        [
            "carrier_origin_departures_count_3h",
            "carrier_origin_departures_count_24h",
            "carrier_origin_departures_count_168h",
        ]
    ],
    dest_arrivals[["dest_arrivals_count_3h", "dest_arrivals_count_24h"]],
    route_arrivals[["route_arrivals_count_24h", "route_arrivals_count_168h", "route_arrivals_count_672h"]],
    flight_number_arrivals[["flight_number_arrivals_count_168h", "flight_number_arrivals_count_672h"]],
    flight_number_departures[["flight_number_departures_count_168h", "flight_number_departures_count_672h"]],
    weather_report[
        [
            "weather_temperature_dc",
            "weather_dew_point_dc",
            "weather_humidity_bp",
            "weather_wind_direction_deg",
            "weather_wind_speed_kt",
            "weather_wind_gust_kt",
            "weather_precipitation_in100",
            "weather_pressure_dhpa",
            "weather_visibility_mi100",
        ]
    ],
    weather_state,
]

late_arrival = FeatureService(
    name="late_arrival",
    features=flight_features,
    description="Two hours before departure: will this flight arrive more than 15 minutes late?",
    owner="operations@example.org",
    tags={"team": "operations", "pii": "none", "model": "late_arrival"},
)

minutes_late = FeatureService(
    name="minutes_late",
    features=flight_features,
    description="Two hours before departure: how many minutes late will this flight arrive?",
    owner="passenger-care@example.org",
    tags={"team": "passenger-care", "pii": "none", "model": "minutes_late"},
)
