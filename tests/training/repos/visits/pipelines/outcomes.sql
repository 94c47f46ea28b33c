SELECT patient_id, visited_at, outcome, early, known_at AS reported_at FROM raw_outcomes
