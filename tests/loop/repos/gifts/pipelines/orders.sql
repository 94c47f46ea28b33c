SELECT order_id, buyer_id, recipient_id, sku, ordered_on, promised_days, cents, packaging FROM raw_orders
