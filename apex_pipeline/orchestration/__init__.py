"""Everything Dagster: assets, checks, jobs, partitions, resources, the IO manager and the runner."""
