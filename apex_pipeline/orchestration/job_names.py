"""Defines the job names, for code that must not import Dagster; see jobs.py for the jobs themselves."""

SESSION_JOB = "sync_session"
DERIVE_JOB = "derive_session"
CATALOG_JOB = "refresh_catalog"
FIND_JOB = "find_sessions"
RACE_JOB = "reprocess_race"
