"""Tests of apex_pipeline; the folders mirror those of the package."""
