"""Tests of apex_pipeline, mirroring its tree."""
