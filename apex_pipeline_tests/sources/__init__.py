"""Tests of the sources: identifying, reading and deriving from raw files."""
