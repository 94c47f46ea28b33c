-- An aircraft left its gate.
SELECT
    carrier, flight, origin, dest, scheduled_departure, tailnum, departed_at,
    departure_delay_min AS delay_min
FROM flights
WHERE departed_at IS NOT NULL
