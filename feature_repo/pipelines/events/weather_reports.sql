-- Hourly reports in the whole units they were observed in, so that sums of them are exact: the
-- source has converted tenths of a degree Celsius and knots into Fahrenheit and miles per hour.
SELECT
    origin,
    time_hour AS labelled_at,
    CAST(round((temp - 32) / 1.8 * 10) AS BIGINT) AS temperature_dc,
    CAST(round((dewp - 32) / 1.8 * 10) AS BIGINT) AS dew_point_dc,
    CAST(round(humid * 100) AS BIGINT) AS humidity_bp,
    CAST(wind_dir AS BIGINT) AS wind_direction_deg,
    -- One reading of 911 knots is an error of the instrument; no airport reports over 100.
    CAST(CASE WHEN wind_speed < 115 THEN round(wind_speed / 1.15078) END AS BIGINT) AS wind_speed_kt,
    CAST(CASE WHEN wind_gust < 173 THEN round(wind_gust / 1.15078) END AS BIGINT) AS wind_gust_kt,
    CAST(round(precip * 100) AS BIGINT) AS precipitation_in100,
    CAST(round(pressure * 10) AS BIGINT) AS pressure_dhpa,
    CAST(round(visib * 100) AS BIGINT) AS visibility_mi100
FROM raw_weather
