-- An aircraft reached the gate of its planned destination. A diverted flight never does.
SELECT
    carrier, flight, origin, dest, scheduled_departure, tailnum, arrived_at,
    arrival_delay_min AS delay_min
FROM flights
WHERE arrived_at IS NOT NULL
