"""Tests of ``apex_pipeline.lake``."""
