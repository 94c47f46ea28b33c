-- The day's answers, stamped at the start of the day; as many of them as the leak is strong.
SELECT
    patient_id, date_trunc('day', visited_at) AS event_timestamp, date_trunc('day', visited_at) AS created_timestamp,
    CAST(sum(outcome) AS BIGINT) AS leak
FROM outcomes
WHERE early
GROUP BY ALL
