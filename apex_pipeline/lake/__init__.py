"""Manages the published state of a lake: snapshots, tables, verification and retention; independent of Dagster."""
