-- Delays at arrival of flights that came from one New York airport.
-- A row whenever a value changes: an event enters every window when it becomes known and leaves the
-- window of w hours w later, so a window decays when nothing happens. Sums of integers are exact.
-- Whatever entered has left by a key's last row, so one running sum over all keys in order starts
-- each of them at zero: it streams, at a tenth of the cost of a sum per partition.
WITH known AS (
    SELECT
        origin, known_at AS instant, count(*) AS flights, sum(delay_min) AS delay_min,
        count(*) FILTER (delay_min > 15) AS late
    FROM arrivals
    GROUP BY origin, instant
),
moves AS (
    SELECT origin, instant, 0 AS leaves_h, flights, delay_min, late FROM known
    UNION ALL
    SELECT origin, instant + to_hours(hours), hours, -flights, -delay_min, -late
    FROM known, (VALUES (3), (24)) AS windows (hours)
    UNION ALL
    -- A true 'none yet' from the day the first flight is published.
    SELECT origin, min(known_at), 0, 0, 0, 0
    FROM schedules
    GROUP BY origin
),
changes AS (
    SELECT
        origin, instant,
        sum(flights) FILTER (leaves_h IN (0, 3)) AS flights_3h,
        sum(delay_min) FILTER (leaves_h IN (0, 3)) AS delay_3h,
        sum(late) FILTER (leaves_h IN (0, 3)) AS late_3h,
        sum(flights) FILTER (leaves_h IN (0, 24)) AS flights_24h,
        sum(delay_min) FILTER (leaves_h IN (0, 24)) AS delay_24h,
        sum(late) FILTER (leaves_h IN (0, 24)) AS late_24h
    FROM moves
    GROUP BY origin, instant
    ORDER BY origin, instant
)
SELECT
    origin, instant AS event_timestamp, instant AS created_timestamp,
    CAST(sum(flights_3h) OVER history AS BIGINT) AS origin_arrivals_count_3h,
    CAST(sum(delay_3h) OVER history AS BIGINT) AS origin_arrival_delay_sum_min_3h,
    CAST(sum(late_3h) OVER history AS BIGINT) AS origin_arrivals_late_count_3h,
    CAST(sum(flights_24h) OVER history AS BIGINT) AS origin_arrivals_count_24h,
    CAST(sum(delay_24h) OVER history AS BIGINT) AS origin_arrival_delay_sum_min_24h,
    CAST(sum(late_24h) OVER history AS BIGINT) AS origin_arrivals_late_count_24h
FROM changes
WINDOW history AS (ROWS UNBOUNDED PRECEDING)
