"""Contains the fixtures of this folder, which are shared with the tests of the lake."""

from apex_pipeline_tests.lake.conftest import store

__all__ = ["store"]
