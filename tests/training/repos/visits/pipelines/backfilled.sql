-- Answers so far, dated by their visits and not by their reports; as many of them as the leak is strong.
SELECT
    patient_id, visited_at AS event_timestamp, visited_at AS created_timestamp,
    CAST(sum(outcome) OVER (PARTITION BY patient_id ORDER BY visited_at) AS BIGINT) AS leak
FROM outcomes
WHERE early
