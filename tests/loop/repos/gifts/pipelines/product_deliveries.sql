WITH days AS (
    SELECT
        sku, delivered_on, known_at,
        count(*) AS deliveries, sum(days) AS days, count(*) FILTER (outcome = 2) AS returns
    FROM deliveries GROUP BY ALL
)
SELECT
    sku,
    CAST(delivered_on AS TIMESTAMPTZ) AS event_timestamp,
    known_at AS created_timestamp,
    CAST(sum(deliveries) OVER so_far AS BIGINT) AS delivery_count_total,
    CAST(sum(days) OVER so_far AS BIGINT) AS delivery_days_sum_total,
    CAST(sum(returns) OVER so_far AS BIGINT) AS return_count_total
FROM days
WINDOW so_far AS (PARTITION BY sku ORDER BY known_at ROWS UNBOUNDED PRECEDING)
