"""Defines the arguments and options shared by several commands, and the functions that resolve them."""

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store, open_store_at

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
RowsAsJson = Annotated[bool, typer.Option("--json", help="Print all rows as JSON.")]
Lake = Annotated[
    str | None, typer.Option("--lake", help="Folder or s3:// URL of the lake; by default the one in the settings.")
]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print all rows as CSV.")]
AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        help="The lake as published at this time (2025-09-06T18:40:00Z), or the snapshot with this id.",
        show_default=False,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]
SourceArgument = Annotated[
    Path | None,
    typer.Argument(help="Folder or s3:// URL of race files; by default that of the settings.", show_default=False),
]
TrackArgument = Annotated[str, typer.Argument(help="Track slug, as `apex tracks` lists it.")]
SessionArgument = Annotated[str, typer.Argument(help="Session, as `apex sessions` lists it.")]


def store_at(lake: str | None) -> ObjectStore:
    """Open the lake given by ``--lake``, or the lake of the settings."""
    settings = load_settings()
    return open_store_at(lake, settings) if lake else open_store(settings, for_writing=False)


def settings_for(source: Path | None) -> Settings:
    """Load the settings, with a folder or ``s3://`` URI given on the command line as the source."""
    if source is None:
        return load_settings()
    # A path has one slash where the URI had two.
    uri = re.fullmatch(r"s3:/+(.*)", source.as_posix())
    return (
        load_settings(source_dir=source, source_uri=None) if uri is None else load_settings(source_uri=f"s3://{uri[1]}")
    )


def writable_store_at(lake: str | None) -> ObjectStore:
    """Open the lake given by ``--lake``, or the lake of the settings, for a command that changes it."""
    store = store_at(lake)
    store.check_access()
    return store


def require_yes(question: str, *, yes: bool) -> bool:
    """Return whether to go on: with ``--yes``, or if the user answers so.

    Raises:
        ConfigurationError: Nobody can be asked.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigurationError(f"{question} Nobody can be asked here.", "Add --yes to do it without asking.")
    return typer.confirm(question)


def split_names(text: str | None) -> tuple[str, ...]:
    """Split a list like ``laps,cars``; return no names for ``None``."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())
