SELECT
    o.buyer_id, o.recipient_id, o.sku, o.known_at AS event_timestamp, o.promised_days,
    CAST(d.outcome AS DOUBLE) AS label,
    d.known_at AS label_timestamp
FROM orders AS o LEFT JOIN deliveries AS d USING (order_id)
ORDER BY event_timestamp, o.buyer_id, o.sku, o.recipient_id
