"""Reads GR Cup race files: identifies them, and derives laps, telemetry and official timing."""
