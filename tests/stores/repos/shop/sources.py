from feast import FileSource

orders = FileSource(
    name="orders",
    path="data/orders.parquet",
    timestamp_field="event_timestamp",
    created_timestamp_column="created_timestamp",
)
# A folder of files with names of their own; one time goes by its old name, one by its new.
sales = FileSource(
    name="sales",
    path="data/sales",
    timestamp_field="happened",
    created_timestamp_column="created_timestamp",
    field_mapping={
        "happened": "event_timestamp",
        "published": "created_timestamp",
        "code": "region_code",
        "sum_x": "sales_y",
    },
)
