"""The promises the programs make to one another: declarations, schemas, releases, logs."""
