"""Lists the commands and defines the entry point; see ``entry_point.py`` for errors, signals and exit codes."""

from collections.abc import Callable

import typer

from apex_pipeline.cli.accuracy import accuracy_command
from apex_pipeline.cli.backfill import backfill_command
from apex_pipeline.cli.bundle import bundle_command
from apex_pipeline.cli.cost import cost_command
from apex_pipeline.cli.doctor import doctor_command
from apex_pipeline.cli.downsample import downsample_command, sample_command
from apex_pipeline.cli.explain import explain_command
from apex_pipeline.cli.export import export_command
from apex_pipeline.cli.forget import forget_command
from apex_pipeline.cli.gc import gc_command
from apex_pipeline.cli.history import history_command, rollback_command
from apex_pipeline.cli.init import init_command
from apex_pipeline.cli.metrics import metrics_command
from apex_pipeline.cli.migrate import migrate_command
from apex_pipeline.cli.pipeline import demo_command, sync_command, ui_command
from apex_pipeline.cli.plan import plan_command
from apex_pipeline.cli.query import (
    cars_command,
    files_command,
    laps_command,
    rejects_command,
    sessions_command,
    telemetry_command,
    tracks_command,
)
from apex_pipeline.cli.s3_server import s3_server_command
from apex_pipeline.cli.schedule import schedule_command
from apex_pipeline.cli.share import share_command
from apex_pipeline.cli.trace import trace_app
from apex_pipeline.cli.verify import verify_command
from apex_pipeline.entry_point import run_command_line
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.logs import set_up_logging
from apex_pipeline.settings import load_settings
from apex_pipeline.upload.command import upload_command

# The panels of `apex --help` and their commands in order; a function `sync_command` is the command `sync`.
_PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Pipeline": (
        *(init_command, sync_command, plan_command, backfill_command, schedule_command),
        *(demo_command, ui_command, upload_command, s3_server_command),
    ),
    "Query": (
        *(tracks_command, sessions_command, files_command, laps_command),
        *(cars_command, telemetry_command, rejects_command, explain_command),
    ),
    "Maintain": (
        *(doctor_command, verify_command, accuracy_command, history_command, rollback_command),
        *(forget_command, gc_command, migrate_command, cost_command, metrics_command),
    ),
    "Share": (export_command, bundle_command, downsample_command, share_command),
}

app = typer.Typer(
    name="apex",
    help="Race-data lake: raw race files in, correct lap and telemetry tables out.",
    no_args_is_help=True,
    # Users get a message with the next step, never a traceback; APEX_DEBUG=1 shows it for developers.
    pretty_exceptions_enable=False,
    add_completion=False,
)

for _panel, _commands in _PANELS.items():
    for _command in _commands:
        _name = _command.__name__.removesuffix("_command").replace("_", "-")
        app.command(_name, rich_help_panel=_panel)(_command)
app.add_typer(trace_app, name="trace", rich_help_panel="Query")
app.command("sample", hidden=True)(sample_command)  # the former name, for one release


def main() -> None:
    """Run the command line and exit with one of the codes in ``exit_codes.py``."""
    run_command_line(_run)


def _run() -> None:
    _set_up_logging()
    app(prog_name="apex")  # shown in the help, even when started as `python -m apex_pipeline`


def _set_up_logging() -> None:
    try:
        set_up_logging(load_settings().log_format)
    except ConfigurationError:  # reported by every command that needs the settings
        set_up_logging("text")
