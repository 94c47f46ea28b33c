-- The last New York departure of an aircraft: a row when the leg is due or leaves early, when it is
-- known to have left, and when it is known to have arrived, until the next leg takes its place.
WITH legs AS (
    SELECT
        schedules.*,
        departures.known_at AS departed_at, departures.delay_min AS departure_delay,
        arrivals.known_at AS arrived_at, arrivals.delay_min AS arrival_delay,
        greatest(
            schedules.known_at,
            least(schedules.scheduled_departure, coalesce(departures.known_at, 'infinity'))
        ) AS begins_at
    FROM schedules
    LEFT JOIN departures USING (carrier, flight, origin, dest, scheduled_departure)
    LEFT JOIN arrivals USING (carrier, flight, origin, dest, scheduled_departure)
    WHERE schedules.tailnum IS NOT NULL
),
ordered AS (
    SELECT
        tailnum, begins_at, departed_at, arrived_at, departure_delay, arrival_delay,
        scheduled_departure, scheduled_arrival,
        coalesce(
            lead(begins_at) OVER (
                PARTITION BY tailnum
                ORDER BY begins_at, scheduled_departure, carrier, flight, origin, dest
            ),
            'infinity'
        ) AS ends_at
    FROM legs
),
instants AS (
    SELECT *, unnest(list_distinct([begins_at, departed_at, arrived_at])) AS instant
    FROM ordered
)
SELECT
    tailnum, instant AS event_timestamp, instant AS created_timestamp,
    CAST(epoch(scheduled_departure) AS BIGINT) AS tail_leg_scheduled_departure_epoch_s,
    CAST(epoch(scheduled_arrival) AS BIGINT) AS tail_leg_scheduled_arrival_epoch_s,
    CAST(CASE WHEN departed_at <= instant THEN departure_delay END AS BIGINT) AS tail_leg_departure_delay_min,
    CAST(CASE WHEN arrived_at <= instant THEN arrival_delay END AS BIGINT) AS tail_leg_arrival_delay_min
FROM instants
WHERE instant >= begins_at AND instant < ends_at
