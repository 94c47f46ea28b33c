SELECT
    customer_id,
    paid_at AS event_timestamp,
    known_at AS created_timestamp,
    count(*) OVER so_far AS order_count_total,
    CAST(sum(cents) OVER so_far AS BIGINT) AS order_value_sum_cents_total,
    channel AS order_channel_last,
    epoch_us(paid_at) AS order_last_epoch_us
FROM orders
WINDOW so_far AS (PARTITION BY customer_id ORDER BY known_at ROWS UNBOUNDED PRECEDING)
