SELECT customer_id, paid_at, cents, channel FROM raw_orders
