"""Tests of what raw files mean."""
