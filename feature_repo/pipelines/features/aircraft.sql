-- What the register says of an aircraft; one row each, known before the first question.
SELECT
    tailnum, known_at AS event_timestamp, known_at AS created_timestamp,
    made_year AS aircraft_made_year,
    seats AS aircraft_seats_count,
    maker AS aircraft_maker
FROM aircraft
