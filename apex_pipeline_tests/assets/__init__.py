"""Tests of ``apex_pipeline.assets``."""
