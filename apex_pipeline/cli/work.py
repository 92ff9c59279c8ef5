"""Commands that change the lake: ``sync`` and ``demo``; and ``ui``, which shows what they did."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from apex_pipeline.cli.console import console, progress_listener
from apex_pipeline.cli.summary import print_summary
from apex_pipeline.demo.options import WeekendOptions
from apex_pipeline.demo.tracks import TRACKS
from apex_pipeline.demo.weekend import ground_truth_path, make_weekend
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.storage.opening import open_store
from apex_pipeline.sync import SyncOutcome, sync

_PROJECT = Path(__file__).resolve().parents[2]

AsJson = Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object.")]


def sync_command(
    source: Annotated[
        Path | None, typer.Argument(help="Folder of race files; APEX_SOURCE_DIR without it.", show_default=False)
    ] = None,
    as_json: AsJson = False,  # noqa: FBT002  -- a command-line switch
) -> None:
    """Bring the lake up to date: copy, identify, derive, check, publish; only what changed.

    It adds and replaces and never deletes.
    """
    settings = load_settings(**({"source_dir": source} if source else {}))
    raise typer.Exit(_sync(settings, as_json=as_json))


def demo_command(
    megabytes: Annotated[int, typer.Option(help="Rough size of the weekend's raw files.", min=1, max=3000)] = 20,
    folder: Annotated[Path, typer.Option(help="Where the raw files are made.")] = Path("demo-weekend"),
    as_json: AsJson = False,  # noqa: FBT002  -- a command-line switch
) -> None:
    """Make a synthetic race weekend with planted faults and sync it into the local lake."""
    settings = load_settings(source_dir=folder, use_s3_data=False)
    _refuse_foreign_lake(settings)
    make_weekend(folder, WeekendOptions(target_bytes=megabytes * 1_000_000))
    if not as_json:
        console().print(f"A synthetic race weekend is in {folder}, what is wrong in it in {ground_truth_path(folder)}.")
    raise typer.Exit(_sync(settings, as_json=as_json))


def _refuse_foreign_lake(settings: Settings) -> None:
    """Keep invented races out of a lake that holds real ones."""
    snapshot = read_current(open_store(settings, for_writing=False))
    foreign = (
        {record.track for record in snapshot.sessions} - {track.slug for track in TRACKS} if snapshot else set[str]()
    )
    if foreign:
        raise ConfigurationError(
            f"The lake {settings.lake_dir} holds other sessions already ({', '.join(sorted(foreign))}).",
            "Give the demo a lake of its own: APEX_LAKE_DIR=demo-lake apex demo.",
        )


def _sync(settings: Settings, *, as_json: bool) -> int:
    with progress_listener() as listener:
        outcome = sync(settings, listener)
    if as_json:
        sys.stdout.write(json.dumps(_as_dict(outcome), default=str) + "\n")
    else:
        print_summary(outcome, settings)
    return outcome.exit_code


def _as_dict(outcome: SyncOutcome) -> dict[str, object]:
    facts = vars(outcome) | {
        "statuses": dict(outcome.statuses),
        "derived": [str(key) for key in outcome.derived],
        "failures": [asdict(failure) for failure in outcome.failures],
    }
    return {**facts, "is_unchanged": outcome.is_unchanged, "exit_code": outcome.exit_code}


def ui_command(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 3000,
) -> None:
    """Open the Dagster UI on the same runs and assets that a sync made."""
    from apex_pipeline.runs import prepare_dagster_home  # noqa: PLC0415  -- importing Dagster takes 2 s

    settings = load_settings()
    home = settings.dagster_home.expanduser().resolve()
    prepare_dagster_home(home)
    command = [str(Path(sys.executable).with_name("dagster")), "dev", "-w", str(_PROJECT / "workspace.yaml")]
    command += ["-h", "127.0.0.1", "-p", str(port)]
    console().print(f"Dagster UI: http://127.0.0.1:{port} (Ctrl+C ends it)", highlight=False)
    environment = {**os.environ, "DAGSTER_HOME": str(home)}
    raise typer.Exit(subprocess.run(command, env=environment, check=False).returncode)  # noqa: S603  -- our own command


__all__ = ["demo_command", "sync_command", "ui_command"]
