"""Dagster's view of storage: the store resource and the Parquet IO manager."""
