"""The command ``apex``: the way into the project for people and for scheduled jobs.

One file per family of commands. Here belongs what is said to people; what is done is in the modules the commands call.
Exit codes: 0 all good, 1 some sessions or files failed and the rest was done, 2 configuration or input, with the fix.
"""

from apex_pipeline.cli.app import app, main

__all__ = ["app", "main"]
