"""Tests of ``apex_pipeline.orchestration.assets``."""
