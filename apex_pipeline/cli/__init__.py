"""The command line ``apex``, for people and for scheduled jobs.

There is one module per command or group of related commands, with its options and its output; the work is done by the
modules it imports. Exit codes are in ``exit_codes.py``.
"""

from apex_pipeline.cli.app import app, main

__all__ = ["app", "main"]
