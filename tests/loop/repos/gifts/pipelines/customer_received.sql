WITH days AS (
    SELECT recipient_id, delivered_on, known_at, count(*) AS deliveries, sum(days) AS days
    FROM deliveries WHERE recipient_id IS NOT NULL GROUP BY ALL
)
SELECT
    recipient_id AS customer_id,
    CAST(delivered_on AS TIMESTAMPTZ) AS event_timestamp,
    known_at AS created_timestamp,
    CAST(sum(deliveries) OVER so_far AS BIGINT) AS delivery_count_total,
    CAST(sum(days) OVER so_far AS BIGINT) / sum(deliveries) OVER so_far AS delivery_days_mean_total
FROM days
WINDOW so_far AS (PARTITION BY recipient_id ORDER BY known_at ROWS UNBOUNDED PRECEDING)
