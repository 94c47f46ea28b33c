-- A day after each order: will the customer order again within a week?
-- Known when they do, an hour after they paid, or else when the week is over.
WITH asked AS (
    SELECT
        customer_id,
        paid_at + INTERVAL 1 DAY AS event_timestamp,
        lead(known_at) OVER (PARTITION BY customer_id ORDER BY paid_at) AS returned_at
    FROM orders
)
SELECT
    customer_id,
    event_timestamp,
    epoch_us(event_timestamp) AS question_epoch_us,
    coalesce(returned_at <= event_timestamp + INTERVAL 7 DAYS, false) AS label,
    greatest(
        event_timestamp,
        least(coalesce(returned_at, event_timestamp + INTERVAL 7 DAYS), event_timestamp + INTERVAL 7 DAYS)
    ) AS label_timestamp
FROM asked
ORDER BY event_timestamp, customer_id
