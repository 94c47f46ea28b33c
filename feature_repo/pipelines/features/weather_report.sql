-- The report itself: true at its label, known an hour later.
SELECT
    origin, labelled_at AS event_timestamp, known_at AS created_timestamp,
    CAST(epoch(labelled_at) AS BIGINT) AS weather_label_epoch_s,
    temperature_dc AS weather_temperature_dc,
    dew_point_dc AS weather_dew_point_dc,
    humidity_bp AS weather_humidity_bp,
    wind_direction_deg AS weather_wind_direction_deg,
    wind_speed_kt AS weather_wind_speed_kt,
    wind_gust_kt AS weather_wind_gust_kt,
    precipitation_in100 AS weather_precipitation_in100,
    pressure_dhpa AS weather_pressure_dhpa,
    visibility_mi100 AS weather_visibility_mi100
FROM weather_reports
