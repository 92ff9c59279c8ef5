"""Implements ``apex sync`` and ``apex demo``, which write to the lake, and ``apex ui``; see plan.py for a dry run."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from apex_pipeline.cli.emit import emit, print_line
from apex_pipeline.cli.options import AsJson, SourceArgument, settings_for
from apex_pipeline.cli.summary import print_summary
from apex_pipeline.cli.sync_progress import progress_listener
from apex_pipeline.demo.options import WeekendOptions
from apex_pipeline.demo.tracks import TRACKS
from apex_pipeline.demo.weekend import ground_truth_path, make_weekend
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.orchestration.sync import sync
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.storage.factory import open_store

_PROJECT = Path(__file__).resolve().parents[2]


def sync_command(source: SourceArgument = None, as_json: AsJson = False) -> None:
    """Bring the lake up to date: copy, identify, derive, check, publish; only what changed.

    Files are added and replaced, never deleted.
    """
    raise typer.Exit(_sync(settings_for(source), as_json=as_json))


def demo_command(
    megabytes: Annotated[int, typer.Option(help="Rough size of the weekend's raw files.", min=1, max=3000)] = 20,
    folder: Annotated[Path, typer.Option(help="Where the raw files are written.")] = Path("demo-weekend"),
    as_json: AsJson = False,
) -> None:
    """Generate a synthetic race weekend with injected faults and sync it into the local lake."""
    settings = load_settings(source_dir=folder, use_s3_data=False)
    _refuse_foreign_lake(settings)
    make_weekend(folder, WeekendOptions(target_bytes=megabytes * 1_000_000))
    if not as_json:
        print_line(
            f"A synthetic race weekend is in {folder}; its injected faults are listed in {ground_truth_path(folder)}."
        )
    raise typer.Exit(_sync(settings, as_json=as_json))


def _refuse_foreign_lake(settings: Settings) -> None:
    """Refuse to sync synthetic races into a lake of real ones."""
    snapshot = read_current(open_store(settings, for_writing=False))
    foreign = (
        {record.track for record in snapshot.sessions} - {track.slug for track in TRACKS} if snapshot else set[str]()
    )
    if foreign:
        raise ConfigurationError(
            f"The lake {settings.lake_dir} already contains other sessions ({', '.join(sorted(foreign))}).",
            "Give the demo a separate lake: APEX_LAKE_DIR=demo-lake apex demo.",
        )


def _sync(settings: Settings, *, as_json: bool) -> int:
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
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 3000,
) -> None:
    """Open the Dagster UI with the runs and assets of `apex sync`."""
    from apex_pipeline.orchestration.runner import prepare_dagster_home  # noqa: PLC0415  -- importing Dagster takes 2 s

    settings = load_settings()
    home = settings.dagster_home.expanduser().resolve()
    prepare_dagster_home(home)
    command = [str(Path(sys.executable).with_name("dagster")), "dev", "-w", str(_PROJECT / "workspace.yaml")]
    command += ["-h", "127.0.0.1", "-p", str(port)]
    print_line(f"Dagster UI: http://127.0.0.1:{port} (Ctrl+C to stop)")
    environment = {**os.environ, "DAGSTER_HOME": str(home)}
    raise typer.Exit(subprocess.run(command, env=environment, check=False).returncode)  # noqa: S603  -- our own command
