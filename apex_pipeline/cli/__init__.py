"""The command ``apex``: the project's entry point for people and for scheduled jobs.

Contains one module per command or family of commands, with its options and its printing; see the modules a command
calls for the work. Exit codes are in ``exit_codes.py``.
"""

from apex_pipeline.cli.app import app, main

__all__ = ["app", "main"]
