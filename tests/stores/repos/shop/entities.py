from feast import Entity, ValueType

customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
region = Entity(name="region", join_keys=["region_code"], value_type=ValueType.STRING)
