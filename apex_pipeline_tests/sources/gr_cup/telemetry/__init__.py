"""Tests of the conversion of telemetry."""
