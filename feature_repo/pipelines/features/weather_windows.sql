-- Sums and counts of the reports known in the last hours at an origin: a row whenever one becomes
-- known or leaves a window. A missing reading is not counted, so each measure has its own count.
WITH moves AS (
    SELECT
        origin, known_at AS instant, 0 AS leaves_h, 1 AS sign,
        wind_speed_kt, precipitation_in100, visibility_mi100, pressure_dhpa
    FROM weather_reports
    UNION ALL
    SELECT
        origin, known_at + to_hours(hours), hours, -1,
        wind_speed_kt, precipitation_in100, visibility_mi100, pressure_dhpa
    FROM weather_reports, (VALUES (3), (12)) AS windows (hours)
    UNION ALL
    -- A true 'none yet' from the day the first flight is published.
    SELECT origin, min(known_at), 0, 0, 0, 0, 0, 0 FROM schedules GROUP BY origin
),
signed AS (
    SELECT
        origin, instant, leaves_h,
        CASE WHEN wind_speed_kt IS NULL THEN 0 ELSE sign END AS wind_count,
        coalesce(sign * wind_speed_kt, 0) AS wind_kt,
        CASE WHEN precipitation_in100 IS NULL THEN 0 ELSE sign END AS precipitation_count,
        coalesce(sign * precipitation_in100, 0) AS precipitation_in100,
        CASE WHEN visibility_mi100 IS NULL THEN 0 ELSE sign END AS visibility_count,
        coalesce(sign * visibility_mi100, 0) AS visibility_mi100,
        CASE WHEN pressure_dhpa IS NULL THEN 0 ELSE sign END AS pressure_count,
        coalesce(sign * pressure_dhpa, 0) AS pressure_dhpa
    FROM moves
),
changes AS (
    SELECT
        origin, instant,
        coalesce(sum(wind_count) FILTER (leaves_h IN (0, 3)), 0) AS wind_count_3h,
        coalesce(sum(wind_kt) FILTER (leaves_h IN (0, 3)), 0) AS wind_kt_3h,
        coalesce(sum(precipitation_count) FILTER (leaves_h IN (0, 3)), 0) AS precipitation_count_3h,
        coalesce(sum(precipitation_in100) FILTER (leaves_h IN (0, 3)), 0) AS precipitation_in100_3h,
        coalesce(sum(visibility_count) FILTER (leaves_h IN (0, 3)), 0) AS visibility_count_3h,
        coalesce(sum(visibility_mi100) FILTER (leaves_h IN (0, 3)), 0) AS visibility_mi100_3h,
        coalesce(sum(pressure_count) FILTER (leaves_h IN (0, 3)), 0) AS pressure_count_3h,
        coalesce(sum(pressure_dhpa) FILTER (leaves_h IN (0, 3)), 0) AS pressure_dhpa_3h,
        coalesce(sum(wind_count) FILTER (leaves_h IN (0, 12)), 0) AS wind_count_12h,
        coalesce(sum(wind_kt) FILTER (leaves_h IN (0, 12)), 0) AS wind_kt_12h,
        coalesce(sum(precipitation_count) FILTER (leaves_h IN (0, 12)), 0) AS precipitation_count_12h,
        coalesce(sum(precipitation_in100) FILTER (leaves_h IN (0, 12)), 0) AS precipitation_in100_12h,
        coalesce(sum(visibility_count) FILTER (leaves_h IN (0, 12)), 0) AS visibility_count_12h,
        coalesce(sum(visibility_mi100) FILTER (leaves_h IN (0, 12)), 0) AS visibility_mi100_12h,
        coalesce(sum(pressure_count) FILTER (leaves_h IN (0, 12)), 0) AS pressure_count_12h,
        coalesce(sum(pressure_dhpa) FILTER (leaves_h IN (0, 12)), 0) AS pressure_dhpa_12h
    FROM signed
    GROUP BY origin, instant
)
SELECT
    origin, instant AS event_timestamp, instant AS created_timestamp,
    CAST(sum(wind_count_3h) OVER history AS BIGINT) AS weather_wind_speed_count_3h,
    CAST(sum(wind_kt_3h) OVER history AS BIGINT) AS weather_wind_speed_sum_kt_3h,
    CAST(sum(precipitation_count_3h) OVER history AS BIGINT) AS weather_precipitation_count_3h,
    CAST(sum(precipitation_in100_3h) OVER history AS BIGINT) AS weather_precipitation_sum_in100_3h,
    CAST(sum(visibility_count_3h) OVER history AS BIGINT) AS weather_visibility_count_3h,
    CAST(sum(visibility_mi100_3h) OVER history AS BIGINT) AS weather_visibility_sum_mi100_3h,
    CAST(sum(pressure_count_3h) OVER history AS BIGINT) AS weather_pressure_count_3h,
    CAST(sum(pressure_dhpa_3h) OVER history AS BIGINT) AS weather_pressure_sum_dhpa_3h,
    CAST(sum(wind_count_12h) OVER history AS BIGINT) AS weather_wind_speed_count_12h,
    CAST(sum(wind_kt_12h) OVER history AS BIGINT) AS weather_wind_speed_sum_kt_12h,
    CAST(sum(precipitation_count_12h) OVER history AS BIGINT) AS weather_precipitation_count_12h,
    CAST(sum(precipitation_in100_12h) OVER history AS BIGINT) AS weather_precipitation_sum_in100_12h,
    CAST(sum(visibility_count_12h) OVER history AS BIGINT) AS weather_visibility_count_12h,
    CAST(sum(visibility_mi100_12h) OVER history AS BIGINT) AS weather_visibility_sum_mi100_12h,
    CAST(sum(pressure_count_12h) OVER history AS BIGINT) AS weather_pressure_count_12h,
    CAST(sum(pressure_dhpa_12h) OVER history AS BIGINT) AS weather_pressure_sum_dhpa_12h
FROM changes
WINDOW history AS (PARTITION BY origin ORDER BY instant)
