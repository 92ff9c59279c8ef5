"""The Dagster entry point; see orchestration/build.py for what is in it."""

import dagster as dg

from apex_pipeline.orchestration.build import build_definitions


@dg.definitions
def defs() -> dg.Definitions:
    """The code location ``apex_pipeline``."""
    return build_definitions()
