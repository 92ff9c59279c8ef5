"""Implements ``apex events records`` and ``apex events bundle``; see ``events/days.py`` and ``day_bundles.py``."""

from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from apex_pipeline.cli.emit import emit, print_line
from apex_pipeline.cli.options import AsJson, Lake, store_at
from apex_pipeline.errors import ConfigurationError, SourceError
from apex_pipeline.events.day_bundles import MANIFEST, BundlePart, bundle_day
from apex_pipeline.events.days import DayReport, DayWriter, delivered_files, read_report
from apex_pipeline.events.delivered import open_delivered, require_private
from apex_pipeline.events.event_keys import DayKey
from apex_pipeline.exit_codes import ExitCode
from apex_pipeline.settings import ByteSize, load_settings
from apex_pipeline.sources.events.mapping import load_mapping
from apex_pipeline.sources.events.model import EXPLANATIONS, Reason
from apex_pipeline.storage.factory import open_store, open_store_at
from apex_pipeline.storage.temp_dirs import process_temp_dir

_From = Annotated[
    str | None,
    typer.Option(
        "--from", help="Folder or s3:// URL of the delivered files; by default BUCKET_NAME.", show_default=False
    ),
]


def records_command(
    day: Annotated[
        str | None, typer.Option("--day", help="Only this UTC day, e.g. 2025-07-29.", show_default=False)
    ] = None,
    delivered: _From = None,
    again: Annotated[bool, typer.Option("--again", help="Make the records again even if nothing changed.")] = False,
    lake: Lake = None,
    as_json: AsJson = False,
) -> None:
    """Make the records of delivered event files, one table per UTC day.

    Exit 0: all events are in the records, 1: some were rejected.
    """
    settings = load_settings()
    mapping = load_mapping(settings.events_mapping_file, settings.event_source)
    source = open_delivered(settings, delivered)
    require_private(source, mapping)
    target = open_store_at(lake, settings) if lake else open_store(settings, for_writing=True)
    writer = DayWriter(source.store, target, mapping, process_temp_dir(settings.state_dir / "scratch"))
    days = delivered_files(source.store, source.prefix)
    wanted = [_parsed_day(day)] if day else list(days)
    if not wanted:
        raise SourceError(f"There are no event files in {source.uri}.", "Run `apex events ship`, or correct PREFIX.")
    reports: list[tuple[DayReport, bool]] = []
    for found in wanted:
        key, files = DayKey(settings.event_source, found.isoformat()), days.get(found, [])
        known = None if again else read_report(target, key)
        is_made = known is None or not files or known.inputs_version != writer.inputs_version(files)
        reports.append((writer.write(key, files) if known is None or is_made else known, is_made))
    facts = [{**asdict(report), "is_made": is_made} for report, is_made in reports]
    emit(facts, as_json=as_json, render=lambda: _print_days(reports))
    raise typer.Exit(ExitCode.SOME_FAILED if any(report.rejected for report, _ in reports) else ExitCode.OK)


def bundle_command(
    day: Annotated[str, typer.Argument(help="UTC day, e.g. 2025-07-29.")],
    target: Annotated[Path, typer.Argument(help="New folder for the parts and their manifest.")],
    size: Annotated[str, typer.Option(help="Size of a part, compressed.")] = "128MB",
    lake: Lake = None,
    as_json: AsJson = False,
) -> None:
    """Compact the events of a day into few files for a warehouse; the delivered files stay as they are."""
    try:
        part_bytes = TypeAdapter[int](ByteSize).validate_python(size)
    except ValidationError as error:
        raise ConfigurationError(f"{size!r} is not a size.", "Write it like 128MB.") from error
    key = DayKey(load_settings().event_source, _parsed_day(day).isoformat())
    parts = bundle_day(store_at(lake), key, target, part_bytes)
    facts = {"target": target, "parts": [asdict(part) for part in parts]}
    emit(facts, as_json=as_json, render=lambda: _print_parts(target, parts))


def _parsed_day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is not a day.", "Write it like 2025-07-29.") from error


def _print_days(reports: list[tuple[DayReport, bool]]) -> None:
    for report, is_made in reports:
        state = "made" if is_made else "unchanged"
        counts = f"{report.events:,} events = {report.records:,} records + {report.rejected:,} rejected"
        print_line(f"{report.day}  {state:<9} {report.files:,} files, {counts}  {report.uri}")
        for reason, count in report.reasons.items():
            print_line(f"    {count:,} {reason}: {EXPLANATIONS[Reason(reason)]}")
        for flag, count in report.flags.items():
            print_line(f"    {count:,} records have the flag {flag}")


def _print_parts(target: Path, parts: list[BundlePart]) -> None:
    for part in parts:
        print_line(f"{part.name}: {part.events:,} events of {len(part.files):,} files, {part.bytes:,} bytes")
    print_line(f"{target}: {len(parts)} parts; {MANIFEST} lists the files in each.")
