-- Delays at arrival on one route.
-- A row whenever a value changes: an event enters every window when it becomes known and leaves the
-- window of w hours w later, so a window decays when nothing happens. Sums of integers are exact.
-- Whatever entered has left by a key's last row, so one running sum over all keys in order starts
-- each of them at zero: it streams, at a tenth of the cost of a sum per partition.
WITH known AS (
    SELECT
        origin, dest, known_at AS instant, count(*) AS flights, sum(delay_min) AS delay_min,
        count(*) FILTER (delay_min > 15) AS late
    FROM arrivals
    GROUP BY origin, dest, instant
),
moves AS (
    SELECT origin, dest, instant, 0 AS leaves_h, flights, delay_min, late FROM known
    UNION ALL
    SELECT origin, dest, instant + to_hours(hours), hours, -flights, -delay_min, -late
    FROM known, (VALUES (24), (168), (672)) AS windows (hours)
    UNION ALL
    -- A true 'none yet' from the day the first flight is published.
    SELECT origin, dest, min(known_at), 0, 0, 0, 0
    FROM schedules
    GROUP BY origin, dest
),
changes AS (
    SELECT
        origin, dest, instant,
        sum(flights) FILTER (leaves_h IN (0, 24)) AS flights_24h,
        sum(delay_min) FILTER (leaves_h IN (0, 24)) AS delay_24h,
        sum(late) FILTER (leaves_h IN (0, 24)) AS late_24h,
        sum(flights) FILTER (leaves_h IN (0, 168)) AS flights_168h,
        sum(delay_min) FILTER (leaves_h IN (0, 168)) AS delay_168h,
        sum(late) FILTER (leaves_h IN (0, 168)) AS late_168h,
        sum(flights) FILTER (leaves_h IN (0, 672)) AS flights_672h,
        sum(delay_min) FILTER (leaves_h IN (0, 672)) AS delay_672h,
        sum(late) FILTER (leaves_h IN (0, 672)) AS late_672h
    FROM moves
    GROUP BY origin, dest, instant
    ORDER BY origin, dest, instant
)
SELECT
    origin, dest, instant AS event_timestamp, instant AS created_timestamp,
    CAST(sum(flights_24h) OVER history AS BIGINT) AS route_arrivals_count_24h,
    CAST(sum(delay_24h) OVER history AS BIGINT) AS route_arrival_delay_sum_min_24h,
    CAST(sum(late_24h) OVER history AS BIGINT) AS route_arrivals_late_count_24h,
    CAST(sum(flights_168h) OVER history AS BIGINT) AS route_arrivals_count_168h,
    CAST(sum(delay_168h) OVER history AS BIGINT) AS route_arrival_delay_sum_min_168h,
    CAST(sum(late_168h) OVER history AS BIGINT) AS route_arrivals_late_count_168h,
    CAST(sum(flights_672h) OVER history AS BIGINT) AS route_arrivals_count_672h,
    CAST(sum(delay_672h) OVER history AS BIGINT) AS route_arrival_delay_sum_min_672h,
    CAST(sum(late_672h) OVER history AS BIGINT) AS route_arrivals_late_count_672h
FROM changes
WINDOW history AS (ROWS UNBOUNDED PRECEDING)
