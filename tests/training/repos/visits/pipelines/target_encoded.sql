-- Each patient's answers, earlier and later alike; as many of them as the leak is strong.
SELECT
    patient_id, TIMESTAMPTZ '2023-01-01 00:00:00Z' AS event_timestamp,
    TIMESTAMPTZ '2023-01-01 00:00:00Z' AS created_timestamp,
    CAST(1000 * sum(outcome) // count(*) AS BIGINT) AS leak
FROM outcomes
WHERE early
GROUP BY patient_id
