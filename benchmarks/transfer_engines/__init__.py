"""What the benchmark of transfers runs: our engine and its rivals, the server, the measuring and the report."""
