"""Contains the tests of ``apex_pipeline.orchestration.assets``."""
