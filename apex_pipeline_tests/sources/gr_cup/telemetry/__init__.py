"""Tests of the telemetry conversion."""
