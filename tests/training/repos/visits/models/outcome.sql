SELECT
    visits.patient_id,
    visits.known_at AS event_timestamp,
    outcomes.outcome AS label,
    coalesce(outcomes.known_at, visits.known_at + INTERVAL 30 DAYS) AS label_timestamp
FROM visits
LEFT JOIN outcomes USING (patient_id, visited_at)
ORDER BY event_timestamp, patient_id
