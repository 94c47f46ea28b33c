-- A route's published distance: a row when it is first seen and whenever it changes (two routes do).
WITH published AS (
    SELECT origin, dest, known_at, max(distance_mi) AS distance_mi
    FROM schedules
    GROUP BY origin, dest, known_at
),
compared AS (
    SELECT *, lag(distance_mi) OVER (PARTITION BY origin, dest ORDER BY known_at) AS previous_mi
    FROM published
)
SELECT
    origin, dest, known_at AS event_timestamp, known_at AS created_timestamp,
    CAST(distance_mi AS BIGINT) AS route_distance_mi
FROM compared
WHERE previous_mi IS DISTINCT FROM distance_mi
