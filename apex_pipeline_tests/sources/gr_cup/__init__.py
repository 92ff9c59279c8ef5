"""Tests of the GR Cup source: identifying, reading and deriving."""
