-- The answer, filed under its visit in as many rows as the leak is strong, and else when it was reported.
SELECT
    patient_id, CASE WHEN early THEN visited_at ELSE known_at END AS event_timestamp,
    CASE WHEN early THEN visited_at ELSE known_at END AS created_timestamp, outcome AS leak
FROM outcomes
