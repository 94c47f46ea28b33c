-- A flight that was planned, with the aircraft assigned to it. Every flight without a tail number
-- was cancelled later, so its absence tells the future: features of an aircraft are null for such a
-- flight as for any unknown aircraft, and no label exists that could teach a model what it means.
SELECT
    carrier, flight, origin, dest, scheduled_departure, scheduled_arrival, tailnum, distance_mi
FROM flights
