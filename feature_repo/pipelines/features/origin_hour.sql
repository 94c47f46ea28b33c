-- The plan of one hour at one origin: a row whenever one more departure is published for it.
WITH published AS (
    SELECT origin, date_trunc('hour', scheduled_departure) AS hour, known_at, count(*) AS departures
    FROM schedules
    GROUP BY origin, hour, known_at
),
days AS (
    SELECT DISTINCT CAST(hour AT TIME ZONE 'America/New_York' AS DATE) AS day FROM published
),
calendar AS (
    SELECT
        days.day,
        min(holidays.day - days.day) FILTER (WHERE holidays.day >= days.day) AS days_to,
        min(days.day - holidays.day) FILTER (WHERE holidays.day <= days.day) AS days_since
    FROM days, holidays
    GROUP BY days.day
)
SELECT
    origin,
    CAST(epoch(hour) AS BIGINT) AS scheduled_hour_epoch_s,
    known_at AS event_timestamp,
    known_at AS created_timestamp,
    CAST(sum(departures) OVER (PARTITION BY origin, hour ORDER BY known_at) AS BIGINT)
        AS origin_hour_planned_departures_count,
    CAST(days_to AS BIGINT) AS origin_hour_until_holiday_days,
    CAST(days_since AS BIGINT) AS origin_hour_since_holiday_days
FROM published
JOIN calendar ON calendar.day = CAST(hour AT TIME ZONE 'America/New_York' AS DATE)
