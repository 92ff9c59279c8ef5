"""What the telemetry benchmark runs: inputs, our engine and its rivals, the measuring and the comparing."""
