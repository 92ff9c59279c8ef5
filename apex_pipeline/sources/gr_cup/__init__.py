"""Contains the source for GR Cup race files: file identification, laps, telemetry and official timing."""
