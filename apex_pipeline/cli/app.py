"""Contains the list of commands, and where an error becomes a message and an exit code."""

import os
import sys
from collections.abc import Callable

import typer

from apex_pipeline.cli import (
    accuracy,
    bundle,
    cost,
    doctor,
    downsample,
    explain,
    export,
    gc,
    metrics,
    pipeline,
    plan,
    query,
    share,
    trace,
    upload,
    verify,
)
from apex_pipeline.cli.output import error_console
from apex_pipeline.errors import ApexError, ConfigurationError
from apex_pipeline.exit_codes import ExitCode
from apex_pipeline.logs import set_up_logging
from apex_pipeline.settings import load_settings

# The panels of `apex --help`, and their commands in order.
_PANELS: dict[str, dict[str, Callable[..., None]]] = {
    "Pipeline": {
        "sync": pipeline.sync_command,
        "plan": plan.plan_command,
        "demo": pipeline.demo_command,
        "ui": pipeline.ui_command,
        "upload": upload.upload_command,
    },
    "Query": {
        "tracks": query.tracks_command,
        "sessions": query.sessions_command,
        "files": query.files_command,
        "laps": query.laps_command,
        "cars": query.cars_command,
        "telemetry": query.telemetry_command,
        "rejects": query.rejects_command,
        "explain": explain.explain_command,
    },
    "Maintain": {
        "doctor": doctor.doctor_command,
        "verify": verify.verify_command,
        "accuracy": accuracy.accuracy_command,
        "gc": gc.gc_command,
        "cost": cost.cost_command,
        "metrics": metrics.metrics_command,
    },
    "Share": {
        "export": export.export_command,
        "bundle": bundle.bundle_command,
        "downsample": downsample.downsample_command,
        "share": share.share_command,
    },
}

app = typer.Typer(
    name="apex",
    help="Race-data lake: raw race files in, correct lap and telemetry tables out.",
    no_args_is_help=True,
    # Users get a message with the next step, never a traceback; APEX_DEBUG=1 brings it back for developers.
    pretty_exceptions_enable=False,
    add_completion=False,
)

for _panel, _commands in _PANELS.items():
    for _name, _command in _commands.items():
        app.command(_name, rich_help_panel=_panel)(_command)
app.add_typer(trace.trace_app, name="trace", rich_help_panel="Query")
app.command("sample", hidden=True)(downsample.sample_command)  # the former name, for one release


def main() -> None:
    """Run the command line and exit with a code of :class:`ExitCode`."""
    _set_up_logging()
    try:
        app(prog_name="apex")  # also under `python -m apex_pipeline`
    except ApexError as error:
        if os.environ.get("APEX_DEBUG"):
            raise
        console = error_console()
        console.print(f"[bold red]Problem:[/] {_plain(error.problem)}", highlight=False, soft_wrap=True)
        console.print(f"[bold]Next step:[/] {_plain(error.remedy)}", highlight=False, soft_wrap=True)
        sys.exit(ExitCode.BAD_INPUT)


def _set_up_logging() -> None:
    try:
        set_up_logging(load_settings().log_format)
    except ConfigurationError:  # every command that needs the settings says so by itself
        set_up_logging("text")


def _plain(text: str) -> str:
    """Keep brackets in file names from being read as colours."""
    return text.replace("[", "\\[")
