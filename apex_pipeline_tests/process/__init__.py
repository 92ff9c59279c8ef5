"""Tests of ``apex_pipeline.process``."""
