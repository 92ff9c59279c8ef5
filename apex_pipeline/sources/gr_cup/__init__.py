"""GR Cup race files: names, CSV dialects, laps, telemetry, official timing."""
