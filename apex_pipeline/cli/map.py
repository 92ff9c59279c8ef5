"""Implements ``apex map``: the map of a track as GeoJSON; see distance/track_map.py for how it is learned."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from apex_pipeline.catalog.reader import Catalog, open_catalog
from apex_pipeline.catalog.session import RaceSession
from apex_pipeline.cli.emit import emit, print_line
from apex_pipeline.cli.options import AsJson, AsOf, Lake, OptionalSession
from apex_pipeline.errors import ObjectMissingError
from apex_pipeline.storage.atomic import new_file

Track = Annotated[str, typer.Argument(metavar="TRACK", help="Track: barber, COTA or as `apex tracks` lists it.")]


def map_command(
    track: Track,
    session: OptionalSession = None,
    geojson: Annotated[
        Path | None, typer.Option("--geojson", metavar="FILE", help="Write the map to this new file.")
    ] = None,
    lake: Lake = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Show the map of a track, its length and the evidence, or write it as GeoJSON."""
    catalog = open_catalog(lake, as_of=as_of)
    race, found = _first_map(catalog, track, session)
    if geojson is not None:
        _require_map(race, found)
        with new_file(geojson) as unfinished:
            unfinished.write_text(json.dumps(found) + "\n", encoding="utf-8")
    emit(found, as_json=as_json, render=lambda: _print_map(race, found, geojson))


def _first_map(catalog: Catalog, track: str, session: str | None) -> tuple[RaceSession, dict[str, Any]]:
    """Return the map of a session, or of the first session of the track that has one."""
    if session is not None:
        race = catalog.session(track, session)
        return race, race.track_map()
    keys = catalog.find_sessions(catalog.find_track(track))
    maps = ((race, race.track_map()) for race in (RaceSession(catalog, key) for key in keys))
    first = next(maps)
    return first if _has_line(first[1]) else next((one for one in maps if _has_line(one[1])), first)


def _require_map(race: RaceSession, found: dict[str, Any]) -> None:
    if not _has_line(found):
        raise ObjectMissingError(
            f"There is no map of {race.track}: {_facts(found)['reason']}.",
            "A map is learned from laps whose cars sent latitude_deg and longitude_deg.",
        )


def _facts(found: dict[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = found["features"][0]["properties"]
    return facts


def _has_line(found: dict[str, Any]) -> bool:
    return found["features"][0]["geometry"] is not None


def _print_map(race: RaceSession, found: dict[str, Any], target: Path | None) -> None:
    facts = _facts(found)
    print_line(f"{race.track}: {facts['length_m']:,.0f} m ({facts['length_evidence']})")
    if not _has_line(found):
        print_line(f"No map: {facts['reason']}.")
        return
    print_line(f"The line of {facts['laps']} laps by GPS measures {facts['line_length_m']:,.0f} m.")
    for feature in found["features"][1:]:
        print_line(f"  {feature['properties']['name']} at {feature['properties']['distance_m']:,.0f} m")
    if target is not None:
        print_line(f"{target}: {len(found['features'])} features, {target.stat().st_size / 1e3:,.0f} kB")
