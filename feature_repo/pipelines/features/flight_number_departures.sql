-- Delays at departure of one flight number on its route.
-- A row whenever a value changes: an event enters every window when it becomes known and leaves the
-- window of w hours w later, so a window decays when nothing happens. Sums of integers are exact.
-- Whatever entered has left by a key's last row, so one running sum over all keys in order starts
-- each of them at zero: it streams, at a tenth of the cost of a sum per partition.
WITH known AS (
    SELECT
        carrier, flight, origin, dest, known_at AS instant, count(*) AS flights, sum(delay_min) AS delay_min,
        count(*) FILTER (delay_min > 15) AS late
    FROM departures
    GROUP BY carrier, flight, origin, dest, instant
),
moves AS (
    SELECT carrier, flight, origin, dest, instant, 0 AS leaves_h, flights, delay_min, late FROM known
    UNION ALL
    SELECT carrier, flight, origin, dest, instant + to_hours(hours), hours, -flights, -delay_min, -late
    FROM known, (VALUES (168), (672)) AS windows (hours)
    UNION ALL
    -- A true 'none yet' from the day the first flight is published.
    SELECT carrier, flight, origin, dest, min(known_at), 0, 0, 0, 0
    FROM schedules
    GROUP BY carrier, flight, origin, dest
),
changes AS (
    SELECT
        carrier, flight, origin, dest, instant,
        sum(flights) FILTER (leaves_h IN (0, 168)) AS flights_168h,
        sum(delay_min) FILTER (leaves_h IN (0, 168)) AS delay_168h,
        sum(late) FILTER (leaves_h IN (0, 168)) AS late_168h,
        sum(flights) FILTER (leaves_h IN (0, 672)) AS flights_672h,
        sum(delay_min) FILTER (leaves_h IN (0, 672)) AS delay_672h,
        sum(late) FILTER (leaves_h IN (0, 672)) AS late_672h
    FROM moves
    GROUP BY carrier, flight, origin, dest, instant
    ORDER BY carrier, flight, origin, dest, instant
)
SELECT
    carrier, flight, origin, dest, instant AS event_timestamp, instant AS created_timestamp,
    CAST(sum(flights_168h) OVER history AS BIGINT) AS flight_number_departures_count_168h,
    CAST(sum(delay_168h) OVER history AS BIGINT) AS flight_number_departure_delay_sum_min_168h,
    CAST(sum(late_168h) OVER history AS BIGINT) AS flight_number_departures_late_count_168h,
    CAST(sum(flights_672h) OVER history AS BIGINT) AS flight_number_departures_count_672h,
    CAST(sum(delay_672h) OVER history AS BIGINT) AS flight_number_departure_delay_sum_min_672h,
    CAST(sum(late_672h) OVER history AS BIGINT) AS flight_number_departures_late_count_672h
FROM changes
WINDOW history AS (ROWS UNBOUNDED PRECEDING)
