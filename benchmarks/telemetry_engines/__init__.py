"""Parts of the telemetry benchmark: inputs, engines, runs, comparison and report."""
