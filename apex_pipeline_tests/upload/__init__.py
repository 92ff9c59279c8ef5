"""Tests of ``apex_pipeline.upload``."""
