"""Defines the Dagster entry point; see orchestration/build.py for the definitions."""

import dagster as dg

from apex_pipeline.orchestration.build import build_definitions


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions of the code location ``apex_pipeline``."""
    return build_definitions()
