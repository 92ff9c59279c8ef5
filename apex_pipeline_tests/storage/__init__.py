"""Tests of ``apex_pipeline.storage``, file by file."""
