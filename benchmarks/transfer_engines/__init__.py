"""Parts of the transfer benchmark: cases, engines, server, runs and report."""
