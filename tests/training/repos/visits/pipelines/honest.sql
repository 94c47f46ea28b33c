-- What was known of a patient, at every moment something became known.
WITH known AS (
    SELECT patient_id, known_at, risk, 0 AS outcome, 0 AS ended FROM visits
    UNION ALL
    SELECT patient_id, known_at, NULL, outcome, 1 FROM outcomes
),
moments AS (
    SELECT patient_id, known_at, max(risk) AS risk, sum(outcome) AS outcome, sum(ended) AS ended
    FROM known
    GROUP BY ALL
)
SELECT
    patient_id, known_at AS event_timestamp, known_at AS created_timestamp,
    last_value(risk IGNORE NULLS) OVER so_far AS risk_last,
    CAST(sum(outcome) OVER so_far AS BIGINT) AS outcome_sum,
    CAST(sum(ended) OVER so_far AS BIGINT) AS outcome_count
FROM moments
WINDOW so_far AS (PARTITION BY patient_id ORDER BY known_at)
