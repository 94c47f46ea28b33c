-- The aircraft register; about one tail number in six is not in it.
SELECT
    tailnum,
    CAST(year AS BIGINT) AS made_year,
    CAST(seats AS BIGINT) AS seats,
    CASE
        WHEN manufacturer LIKE 'AIRBUS%' THEN 'AIRBUS'
        WHEN manufacturer LIKE 'MCDONNELL DOUGLAS%' THEN 'MCDONNELL DOUGLAS'
        WHEN manufacturer IN ('BOMBARDIER INC', 'CANADAIR', 'CANADAIR LTD') THEN 'BOMBARDIER'
        WHEN manufacturer IN ('BOEING', 'EMBRAER') THEN manufacturer
        ELSE 'OTHER'
    END AS maker
FROM raw_planes
