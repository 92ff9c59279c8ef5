"""``apex doctor``: whether this machine is ready for a sync, with a fix for everything that is not."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from apex_pipeline.cli.output import console
from apex_pipeline.errors import ApexError
from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.lake.source_folder import look_at
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.sources.gr_cup.naming import load_rules
from apex_pipeline.storage.opening import open_store

# A telemetry file needs its own size again for spilling; less than this is too little for the smallest real race.
_ENOUGH_DISK = 5_000_000_000

Check = Callable[[Settings], str]


def doctor_command(
    source: Annotated[Path | None, typer.Argument(help="Source folder to check too.", show_default=False)] = None,
) -> None:
    """Check settings, source folder, lake, published state and disk; say what to do about each problem."""
    settings = load_settings(**({"source_dir": source} if source else {}))
    healthy = True
    for name, check in _CHECKS:
        try:
            console().print(f"[green]ok[/]       {name}: {check(settings)}", highlight=False, soft_wrap=True)
        except ApexError as error:
            healthy = False
            console().print(f"[red]problem[/]  {name}: ", end="", highlight=False)
            console().print(f"{error.problem} {error.remedy}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(0 if healthy else 2)


def _settings(settings: Settings) -> str:
    where = f"S3 bucket {settings.bucket}" if settings.use_s3_data else f"local folder {settings.lake_dir}"
    return f"the lake is the {where}"


def _tracks(settings: Settings) -> str:
    load_rules(settings.tracks_file)
    return f"names are understood with {settings.tracks_file or 'the built-in rules'}"


def _source(settings: Settings) -> str:
    folder = look_at(settings.source_dir)
    refused = f"; {len(folder.refused)} cannot be read" if folder.refused else ""
    return f"{len(folder.files)} files, {folder.bytes / 1e6:,.1f} MB in {folder.root}{refused}"


def _lake(settings: Settings) -> str:
    store = open_store(settings, for_writing=False)
    store.check_access()
    return f"{store.uri} can be reached"


def _published(settings: Settings) -> str:
    snapshot = read_current(open_store(settings, for_writing=False))
    return f"{len(snapshot.sessions)} sessions in snapshot {snapshot.id}" if snapshot else "nothing yet; run apex sync"


def _disk(settings: Settings) -> str:
    state = settings.state_dir.expanduser()
    existing = next(folder for folder in (state.absolute(), *state.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < _ENOUGH_DISK:
        raise ApexError(
            f"Only {free / 1e9:.1f} GB are free in {existing}, where telemetry is spilled.",
            "Free some space, or point APEX_STATE_DIR to a larger disk.",
        )
    return f"{free / 1e9:,.0f} GB free in {existing}"


_CHECKS: tuple[tuple[str, Check], ...] = (
    ("settings", _settings),
    ("tracks", _tracks),
    ("source", _source),
    ("lake", _lake),
    ("published", _published),
    ("disk", _disk),
)

__all__ = ["doctor_command"]
