"""The fixtures of this folder, shared with others."""

from apex_pipeline_tests.lake.conftest import store

__all__ = ["store"]
