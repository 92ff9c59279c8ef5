"""Contains the published state of a lake: snapshots, tables, verification and retention; does not depend on Dagster."""
