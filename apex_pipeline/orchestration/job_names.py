"""Defines the job names, for code that must not import Dagster; see jobs.py for the jobs themselves."""

COPY_JOB = "copy_session"
CATALOG_JOB = "refresh_catalog"
DERIVE_JOB = "derive_session"
PUBLISH_JOB = "publish"
