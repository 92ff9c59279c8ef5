"""Contains all Dagster code: assets, checks, jobs, partitions, resources, the IO manager and the runner."""
