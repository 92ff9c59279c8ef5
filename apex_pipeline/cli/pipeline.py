"""Implements ``apex sync`` and ``apex demo``, which write to the lake, and ``apex ui``; see plan.py for a dry run."""

import os
import socket
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from apex_pipeline.cli.demo_lake import demo_settings, mark_demo_lake, refuse_mixture
from apex_pipeline.cli.emit import emit, print_line
from apex_pipeline.cli.options import AsJson, SourceArgument, settings_for
from apex_pipeline.cli.summary import print_summary
from apex_pipeline.cli.sync_progress import progress_listener
from apex_pipeline.demo.options import WeekendOptions, ground_truth_path
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.orchestration.command_sync import sync
from apex_pipeline.orchestration.daemon_settings import DAEMON_ENVIRONMENT
from apex_pipeline.process.children import run_until_stopped
from apex_pipeline.process.garbage import collect_rarely
from apex_pipeline.settings import Settings, load_settings

# How often it is tried whether Dagster's web server listens; it takes five to ten seconds.
_POLL_S = 0.2


def sync_command(source: SourceArgument = None, as_json: AsJson = False) -> None:
    """Bring the lake up to date: copy, identify, derive, check, publish; only what changed.

    Files are added and replaced, never deleted.
    """
    settings = settings_for(source)
    refuse_mixture(settings)
    raise typer.Exit(_sync(settings, as_json=as_json))


def demo_command(
    megabytes: Annotated[int, typer.Option(help="Rough size of the weekend's raw files.", min=1, max=3000)] = 60,
    folder: Annotated[Path, typer.Option(help="Where the raw files are written.")] = Path("demo-weekend"),
    telemetry_holes: Annotated[
        bool, typer.Option("--telemetry-holes", help="Leave out telemetry where the radio was silent, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Generate a synthetic race weekend with injected faults and sync it into a lake of its own."""
    from apex_pipeline.demo.weekend import make_weekend  # noqa: PLC0415  -- nothing that a sync needs

    settings = demo_settings(folder)
    mark_demo_lake(settings)
    make_weekend(folder, WeekendOptions(target_bytes=megabytes * 1_000_000, telemetry_holes=telemetry_holes))
    if not as_json:
        print_line(
            f"A synthetic race weekend is in {folder}; its injected faults are listed in {ground_truth_path(folder)}."
        )
    raise typer.Exit(_sync(settings, as_json=as_json))


def _sync(settings: Settings, *, as_json: bool) -> int:
    collect_rarely()
    with progress_listener() as listener:
        outcome = sync(settings, listener)
    facts = vars(outcome) | {
        "derived": [str(key) for key in outcome.derived],
        "is_unchanged": outcome.is_unchanged,
        "exit_code": outcome.exit_code,
    }
    emit(facts, as_json=as_json, render=lambda: print_summary(outcome, settings))
    return outcome.exit_code


def ui_command(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.", min=1, max=65_535)] = 3000,
) -> None:
    """Open the Dagster UI with the runs and assets of `apex sync`."""
    from apex_pipeline import orchestration  # noqa: PLC0415  -- importing Dagster takes 2 s
    from apex_pipeline.orchestration.instance import open_instance  # noqa: PLC0415  -- as above

    workspace = Path(str(orchestration.__file__)).with_name("workspace.yaml")  # a checkout is not needed
    settings = load_settings()
    with open_instance(settings.dagster_home, settings.memory_limit) as instance:  # or Dagster would show a traceback
        home = instance.root_directory
    command = [str(Path(sys.executable).with_name("dagster")), "dev", "-w", str(workspace)]
    command += ["-h", "127.0.0.1", "-p", str(port)]
    _require_free(port)
    ended = threading.Event()
    threading.Thread(target=announce, args=(port, ended), daemon=True).start()
    try:
        code = run_until_stopped(command, {**os.environ, **DAEMON_ENVIRONMENT, "DAGSTER_HOME": home})
    finally:
        ended.set()
    raise typer.Exit(code)


def _require_free(port: int) -> None:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was just closed is free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigurationError(
                f"Port {port} cannot be used: {error.strerror}.", f"Choose another one: apex ui --port {port + 1}"
            ) from error


def announce(port: int, ended: threading.Event) -> None:
    """Print the address of the UI once something listens there, unless Dagster has ended before."""
    while not ended.wait(_POLL_S):
        with closing(socket.socket()) as probe:
            probe.settimeout(_POLL_S)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                print_line(f"Dagster UI: http://127.0.0.1:{port} (Ctrl+C to stop)")
                sys.stdout.flush()
                return
