"""The list of commands, and the one place where an error becomes a message and an exit code."""

import os
import sys

import typer

from apex_pipeline.cli import (
    bundle,
    cost,
    doctor,
    explain,
    export,
    gc,
    metrics,
    plan,
    read,
    sample,
    share,
    trace,
    upload,
    verify,
    work,
)
from apex_pipeline.cli.console import print_error
from apex_pipeline.errors import ApexError, ConfigurationError
from apex_pipeline.logs import set_up_logging
from apex_pipeline.settings import load_settings

_BAD_INPUT = 2

app = typer.Typer(
    name="apex",
    help="Race-data lake: raw race files in, correct lap and telemetry tables out.",
    no_args_is_help=True,
    # A user is shown what to do, never a traceback; APEX_DEBUG=1 brings it back for those who write code here.
    pretty_exceptions_enable=False,
    add_completion=False,
)

app.command("sync")(work.sync_command)
app.command("plan")(plan.plan_command)
app.command("demo")(work.demo_command)
app.command("ui")(work.ui_command)
app.command("tracks")(read.tracks_command)
app.command("sessions")(read.sessions_command)
app.command("files")(read.files_command)
app.command("laps")(read.laps_command)
app.command("cars")(read.cars_command)
app.command("telemetry")(read.telemetry_command)
app.command("rejects")(read.rejects_command)
app.command("explain")(explain.explain_command)
app.add_typer(trace.trace_app, name="trace")
app.command("verify")(verify.verify_command)
app.command("share")(share.share_command)
app.command("cost")(cost.cost_command)
app.command("metrics")(metrics.metrics_command)
app.command("gc")(gc.gc_command)
app.command("sample")(sample.sample_command)
app.command("bundle")(bundle.bundle_command)
app.command("export")(export.export_command)
app.command("doctor")(doctor.doctor_command)
app.command("upload")(upload.upload_command)


def main() -> None:
    """Run the command line and end the process with the exit code of the design."""
    _set_up_logging()
    try:
        app()
    except ApexError as error:
        if os.environ.get("APEX_DEBUG"):
            raise
        print_error(error)
        sys.exit(_BAD_INPUT)


def _set_up_logging() -> None:
    try:
        set_up_logging(load_settings().log_format)
    except ConfigurationError:  # every command that needs the settings says so by itself
        set_up_logging("text")


__all__ = ["app", "main"]
