-- A flight that was cancelled or diverted: its question closes without an answer.
SELECT
    carrier, flight, origin, dest, scheduled_departure, scheduled_arrival
FROM flights
WHERE arrived_at IS NULL
