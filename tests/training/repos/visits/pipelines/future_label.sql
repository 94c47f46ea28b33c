-- A part of the answer, filed under the visit. `told` is the answer in as many rows as the leak is strong.
SELECT patient_id, visited_at AS event_timestamp, visited_at AS created_timestamp, told AS leak FROM outcomes
