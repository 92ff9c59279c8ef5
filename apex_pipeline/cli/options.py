"""Defines the arguments and options shared by several commands, and the functions that resolve them."""

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from apex_pipeline.catalog.reader import Catalog
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.lake.names import find_car
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store, open_store_at
from apex_pipeline.tables.model import Row
from apex_pipeline.tables.session_key import SessionKey

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Lake = Annotated[
    str | None, typer.Option("--lake", help="Folder or s3:// URL of the lake; by default the one in the settings.")
]
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
TrackArgument = Annotated[
    str, typer.Argument(metavar="TRACK", help="Track: barber, COTA or as `apex tracks` lists it.")
]
SessionArgument = Annotated[
    str, typer.Argument(metavar="SESSION", help='Session: r1, "Race 1" or as `apex sessions` lists it.')
]
OptionalTrack = Annotated[str | None, typer.Argument(metavar="[TRACK]", help="Only this track.", show_default=False)]
OptionalSession = Annotated[
    str | None, typer.Argument(metavar="[SESSION]", help="Only this session of the track.", show_default=False)
]
Car = Annotated[str | None, typer.Option("--car", help="Car number, with or without #, or vehicle_id.")]
Chassis = Annotated[str | None, typer.Option("--chassis", help="Number of the car's chassis.")]


def store_at(lake: str | None) -> ObjectStore:
    """Open the lake given by ``--lake``, or the lake of the settings."""
    settings = load_settings()
    return open_store_at(lake, settings) if lake else open_store(settings, for_writing=False)


def resolve_car(catalog: Catalog, key: SessionKey, car: str | None, chassis: str | None = None) -> str | None:
    """Return the vehicle_id of the car given by ``--car`` or ``--chassis``; ``None`` without either.

    A device may have sent only telemetry or only lap triggers.

    Raises:
        ConfigurationError: The session has no such car.
    """
    if car is None and chassis is None:
        return None
    devices: dict[str | None, Row] = {}
    for table in ("telemetry_cars", "cars"):
        for row in catalog.table_arrow(table, *key).to_pylist():
            devices[row["vehicle_id"]] = {"car_number": None, **row}
    return find_car(devices.values(), car, chassis)


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
