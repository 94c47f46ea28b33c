SELECT patient_id, visited_at, risk FROM raw_visits
