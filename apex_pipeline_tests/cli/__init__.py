"""Tests of ``apex_pipeline.cli``."""
