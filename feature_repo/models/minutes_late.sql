-- Two hours before departure: how many minutes late will this flight arrive? Early is negative. One row
-- a flight.
-- The answer is known at arrival. A flight that was cancelled or diverted never has one: its question
-- closes unlabelled a day after its planned arrival. That is a selection, and it is not a random one:
-- the model speaks of flights that do arrive.
-- A flight without a tail number was cancelled later. It is asked like any other and its aircraft is
-- unknown; as it has no label either, no model can learn from the missing number.
SELECT
    schedules.origin,
    schedules.dest,
    schedules.carrier,
    schedules.flight,
    schedules.tailnum,
    'NYC' AS metro,
    CAST(epoch(date_trunc('hour', schedules.scheduled_departure)) AS BIGINT) AS scheduled_hour_epoch_s,
    schedules.scheduled_departure - INTERVAL 2 HOURS AS event_timestamp,
    epoch_us(schedules.scheduled_departure - INTERVAL 2 HOURS) AS question_epoch_us,
    CAST(epoch(schedules.scheduled_departure) AS BIGINT) AS scheduled_departure_epoch_s,
    CAST(epoch(schedules.scheduled_arrival) AS BIGINT) AS scheduled_arrival_epoch_s,
    CAST(arrivals.delay_min AS DOUBLE) AS label,
    coalesce(arrivals.known_at, closures.known_at) AS label_timestamp
FROM schedules
LEFT JOIN arrivals USING (carrier, flight, origin, dest, scheduled_departure)
LEFT JOIN closures USING (carrier, flight, origin, dest, scheduled_departure)
ORDER BY event_timestamp, carrier, flight, origin, dest
