-- Delays at arrival of flights that came from any airport of New York.
-- A row whenever a value changes: an event enters every window when it becomes known and leaves the
-- window of w hours w later, so a window decays when nothing happens. Sums of integers are exact.
-- Whatever entered has left by a key's last row, so one running sum over all keys in order starts
-- each of them at zero: it streams, at a tenth of the cost of a sum per partition.
WITH known AS (
    SELECT
        'NYC' AS metro, known_at AS instant, count(*) AS flights, sum(delay_min) AS delay_min,
        count(*) FILTER (delay_min > 15) AS late
    FROM arrivals
    GROUP BY metro, instant
),
moves AS (
    SELECT metro, instant, 0 AS leaves_h, flights, delay_min, late FROM known
    UNION ALL
    SELECT metro, instant + to_hours(hours), hours, -flights, -delay_min, -late
    FROM known, (VALUES (1), (3)) AS windows (hours)
    UNION ALL
    -- A true 'none yet' from the day the first flight is published.
    SELECT 'NYC' AS metro, min(known_at), 0, 0, 0, 0
    FROM schedules
    GROUP BY metro
),
changes AS (
    SELECT
        metro, instant,
        sum(flights) FILTER (leaves_h IN (0, 1)) AS flights_1h,
        sum(delay_min) FILTER (leaves_h IN (0, 1)) AS delay_1h,
        sum(late) FILTER (leaves_h IN (0, 1)) AS late_1h,
        sum(flights) FILTER (leaves_h IN (0, 3)) AS flights_3h,
        sum(delay_min) FILTER (leaves_h IN (0, 3)) AS delay_3h,
        sum(late) FILTER (leaves_h IN (0, 3)) AS late_3h
    FROM moves
    GROUP BY metro, instant
    ORDER BY metro, instant
)
SELECT
    metro, instant AS event_timestamp, instant AS created_timestamp,
    CAST(sum(flights_1h) OVER history AS BIGINT) AS metro_arrivals_count_1h,
    CAST(sum(delay_1h) OVER history AS BIGINT) AS metro_arrival_delay_sum_min_1h,
    CAST(sum(late_1h) OVER history AS BIGINT) AS metro_arrivals_late_count_1h,
    CAST(sum(flights_3h) OVER history AS BIGINT) AS metro_arrivals_count_3h,
    CAST(sum(delay_3h) OVER history AS BIGINT) AS metro_arrival_delay_sum_min_3h,
    CAST(sum(late_3h) OVER history AS BIGINT) AS metro_arrivals_late_count_3h
FROM changes
WINDOW history AS (ROWS UNBOUNDED PRECEDING)
