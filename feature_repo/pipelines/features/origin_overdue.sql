-- Flights that should have left an origin in the last 3 hours and have not been seen to leave. A
-- flight enters when it is due and leaves when its departure is known, or after 3 hours. Its age
-- moves with the question, so the sum of the due times is stored and finished on demand.
WITH due AS (
    SELECT
        schedules.origin,
        greatest(schedules.scheduled_departure, schedules.known_at) AS enters_at,
        least(coalesce(departures.known_at, 'infinity'), schedules.scheduled_departure + INTERVAL 3 HOURS)
            AS leaves_at,
        CAST(epoch(schedules.scheduled_departure) AS BIGINT) AS due_s
    FROM schedules
    LEFT JOIN departures USING (carrier, flight, origin, dest, scheduled_departure)
),
moves AS (
    SELECT origin, enters_at AS instant, 1 AS flights, due_s FROM due WHERE leaves_at > enters_at
    UNION ALL
    SELECT origin, leaves_at, -1, -due_s FROM due WHERE leaves_at > enters_at
    UNION ALL
    SELECT origin, min(known_at), 0, 0 FROM schedules GROUP BY origin
),
changes AS (
    SELECT origin, instant, sum(flights) AS flights, sum(due_s) AS due_s FROM moves GROUP BY origin, instant
)
SELECT
    origin, instant AS event_timestamp, instant AS created_timestamp,
    CAST(sum(flights) OVER history AS BIGINT) AS origin_overdue_count_3h,
    CAST(sum(due_s) OVER history AS BIGINT) AS origin_overdue_due_sum_epoch_s_3h
FROM changes
WINDOW history AS (PARTITION BY origin ORDER BY instant)
