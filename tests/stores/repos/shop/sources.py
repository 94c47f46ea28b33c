from feast import FileSource

orders = FileSource(
    name="orders",
    path="data/orders.parquet",
    timestamp_field="event_timestamp",
    created_timestamp_column="created_timestamp",
)
# A folder of files, whose time columns have names of their own.
sales = FileSource(
    name="sales",
    path="data/sales",
    timestamp_field="event_timestamp",
    created_timestamp_column="published",
    field_mapping={"happened": "event_timestamp", "code": "region_code", "sum_x": "sales_y"},
)
