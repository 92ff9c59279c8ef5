"""Contains the parts of the transfer benchmark: cases, engines, server, runs and report."""
