-- One row a flight, every time built from the schedule and a delay. The clock columns dep_time and
-- arr_time are never used: they carry no date, and 24:00 and daylight saving make them ambiguous.
WITH scheduled AS (
    SELECT
        raw.carrier,
        raw.flight,
        raw.origin,
        raw.dest,
        raw.tailnum,
        raw.distance AS distance_mi,
        raw.dep_delay,
        raw.arr_delay,
        raw.time_hour + to_minutes(raw.minute) AS scheduled_departure,
        -- Four airports of Puerto Rico and the Virgin Islands lack a time zone in the source.
        coalesce(airports.tzone, 'America/Puerto_Rico') AS dest_zone,
        to_minutes(raw.sched_arr_time // 100 * 60 + raw.sched_arr_time % 100) AS arrival_clock
    FROM raw_flights AS raw
    LEFT JOIN raw_airports AS airports ON airports.faa = raw.dest
),
candidates AS (
    SELECT
        *,
        -- The destination's clock shows HHMM on the day of departure or the next; where clocks
        -- went back it shows it twice, an hour apart, and an hour is added or taken to see both.
        unnest([0, 1]) AS days_later,
        scheduled_departure AT TIME ZONE dest_zone AS departure_clock
    FROM scheduled
),
instants AS (
    SELECT
        *,
        (date_trunc('day', departure_clock) + to_days(days_later) + arrival_clock) AS clock_shown,
        clock_shown AT TIME ZONE dest_zone AS instant
    FROM candidates
),
arrivals AS (
    SELECT
        carrier, flight, origin, dest, scheduled_departure,
        min(CASE
            WHEN instant - INTERVAL 1 HOUR > scheduled_departure
                AND (instant - INTERVAL 1 HOUR) AT TIME ZONE dest_zone = clock_shown
                THEN instant - INTERVAL 1 HOUR
            WHEN instant > scheduled_departure AND instant AT TIME ZONE dest_zone = clock_shown
                THEN instant
            WHEN instant + INTERVAL 1 HOUR > scheduled_departure
                AND (instant + INTERVAL 1 HOUR) AT TIME ZONE dest_zone = clock_shown
                THEN instant + INTERVAL 1 HOUR
        END) AS scheduled_arrival
    FROM instants
    GROUP BY carrier, flight, origin, dest, scheduled_departure
)
SELECT
    carrier, flight, origin, dest, scheduled_departure,
    arrivals.scheduled_arrival,
    scheduled.tailnum,
    scheduled.distance_mi,
    scheduled.dep_delay AS departure_delay_min,
    scheduled.arr_delay AS arrival_delay_min,
    scheduled_departure + to_minutes(scheduled.dep_delay) AS departed_at,
    arrivals.scheduled_arrival + to_minutes(scheduled.arr_delay) AS arrived_at
FROM scheduled
JOIN arrivals USING (carrier, flight, origin, dest, scheduled_departure)
