"""For consumers: open a lake and read tables with pandas and pyarrow; no Dagster needed."""
