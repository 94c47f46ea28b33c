WITH days AS (
    SELECT
        buyer_id, ordered_on, known_at,
        count(*) AS orders, sum(cents) AS cents, max(packaging) AS packaging
    FROM orders GROUP BY ALL
)
SELECT
    buyer_id AS customer_id,
    CAST(ordered_on AS TIMESTAMPTZ) AS event_timestamp,
    known_at AS created_timestamp,
    CAST(sum(orders) OVER so_far AS BIGINT) AS order_count_total,
    CAST(sum(cents) OVER so_far AS BIGINT) AS order_value_sum_cents_total,
    packaging AS order_packaging_last
FROM days
WINDOW so_far AS (PARTITION BY buyer_id ORDER BY known_at ROWS UNBOUNDED PRECEDING)
