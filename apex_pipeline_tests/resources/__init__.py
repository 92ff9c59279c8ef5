"""Tests of ``apex_pipeline.resources``."""
