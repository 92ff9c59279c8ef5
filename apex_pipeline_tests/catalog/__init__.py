"""Tests of ``apex_pipeline.catalog``."""
