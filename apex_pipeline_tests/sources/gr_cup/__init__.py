"""Tests of the GR Cup files: recognising, reading and deriving."""
