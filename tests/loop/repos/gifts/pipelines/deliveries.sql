SELECT order_id, recipient_id, sku, delivered_on, delivered_on - ordered_on AS days, outcome
FROM raw_deliveries JOIN raw_orders USING (order_id)
