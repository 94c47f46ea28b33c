"""The weather at the origin, as it was known: an hour after the label a report carries."""

from datetime import timedelta

from entities import origin
from feast import FeatureView, Field
from feast.types import Int64
from sources import weather_report_table, weather_windows_table


def _stored(name: str, unit: str, description: str) -> Field:
    return Field(name=name, dtype=Int64, description=description, tags={"unit": unit})


weather_report = FeatureView(
    name="weather_report",
    entities=[origin],
    # The longest gap between labels is 6 h and a report is known an hour late: what is 12 h old is
    # not the weather any more, and the feed has stopped.
    ttl=timedelta(hours=12),
    schema=[
        _stored("weather_label_epoch_s", "s since 1970", "The hour the report is labelled with"),
        _stored("weather_temperature_dc", "0.1 C", "Air temperature"),
        _stored("weather_dew_point_dc", "0.1 C", "Dew point"),
        _stored("weather_humidity_bp", "0.01 %", "Relative humidity"),
        _stored("weather_wind_direction_deg", "deg", "Where the wind comes from; null if it varies"),
        _stored("weather_wind_speed_kt", "kt", "Wind speed; an impossible reading is null"),
        _stored("weather_wind_gust_kt", "kt", "Gusts; null where none are reported"),
        _stored("weather_precipitation_in100", "0.01 in", "Precipitation of the hour"),
        _stored("weather_pressure_dhpa", "0.1 hPa", "Pressure at sea level"),
        _stored("weather_visibility_mi100", "0.01 mi", "Visibility, at most 10 mi"),
    ],
    source=weather_report_table,
    description="The last report known of an origin's weather. The source labels a report with the "
    "hour before it was made, so it is known an hour after its label.",
    owner="flight-data@example.org",
    tags={"team": "flight-data", "pii": "none", "subject": "weather"},
)

weather_windows = FeatureView(
    name="weather_windows",
    entities=[origin],
    # Reports come hourly; two days without a change mean that the pipeline has stopped.
    ttl=timedelta(days=2),
    schema=[
        _stored("weather_wind_speed_count_3h", "reports", "Reports with a wind speed, last 3 h"),
        _stored("weather_wind_speed_sum_kt_3h", "kt", "Sum of their wind speeds"),
        _stored("weather_precipitation_count_3h", "reports", "Reports with precipitation, last 3 h"),
        _stored("weather_precipitation_sum_in100_3h", "0.01 in", "Sum of their precipitation"),
        _stored("weather_visibility_count_3h", "reports", "Reports with a visibility, last 3 h"),
        _stored("weather_visibility_sum_mi100_3h", "0.01 mi", "Sum of their visibilities"),
        _stored("weather_pressure_count_3h", "reports", "Reports with a pressure, last 3 h"),
        _stored("weather_pressure_sum_dhpa_3h", "0.1 hPa", "Sum of their pressures"),
        _stored("weather_wind_speed_count_12h", "reports", "Reports with a wind speed, last 12 h"),
        _stored("weather_wind_speed_sum_kt_12h", "kt", "Sum of their wind speeds"),
        _stored("weather_precipitation_count_12h", "reports", "Reports with precipitation, last 12 h"),
        _stored("weather_precipitation_sum_in100_12h", "0.01 in", "Sum of their precipitation"),
        _stored("weather_visibility_count_12h", "reports", "Reports with a visibility, last 12 h"),
        _stored("weather_visibility_sum_mi100_12h", "0.01 mi", "Sum of their visibilities"),
        _stored("weather_pressure_count_12h", "reports", "Reports with a pressure, last 12 h"),
        _stored("weather_pressure_sum_dhpa_12h", "0.1 hPa", "Sum of their pressures"),
    ],
    source=weather_windows_table,
    description="Sums and counts of the reports that became known in the last 3 and 12 hours",
    owner="flight-data@example.org",
    tags={"team": "flight-data", "pii": "none", "subject": "weather"},
)
