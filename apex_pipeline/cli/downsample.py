"""Implements ``apex downsample``; see export/downsample.py for which samples are kept."""

from pathlib import Path
from typing import Annotated

import typer

from apex_pipeline.cli.emit import TextTable, emit, print_line, warn_renamed
from apex_pipeline.cli.options import AsJson
from apex_pipeline.export.downsample import DownsampledFile, DownsampleReport, downsample_folder
from apex_pipeline.ingest.source_folder import identify, scan_folder
from apex_pipeline.settings import load_settings

_COLUMNS = ("telemetry", "rows in", "rows out", "samples in", "samples out", "bytes in", "bytes out")

Source = Annotated[Path, typer.Argument(metavar="SOURCE", help="Folder of race files.")]
Target = Annotated[Path, typer.Argument(metavar="TARGET", help="New folder for the downsampled copy.")]
Every = Annotated[int, typer.Option(help="Keep every Nth sample of each car, with all its channels.", min=1)]


def sample_command(source: Source, target: Target, every: Every = 100, as_json: AsJson = False) -> None:
    """Run `apex downsample` under its old name."""
    warn_renamed("apex sample", "apex downsample")
    downsample_command(source, target, every, as_json)


def downsample_command(source: Source, target: Target, every: Every = 100, as_json: AsJson = False) -> None:
    """Copy a race folder with every Nth telemetry sample of every car, and all other race files unchanged."""
    folder = scan_folder(source)
    report = downsample_folder(folder, identify(folder, load_settings()), target, every)
    facts = {
        "target": target,
        "every": every,
        "bytes_in": sum(file.bytes_in for file in report.files),
        "bytes_out": sum(file.bytes_out for file in report.files),
        "files": [_facts(file) for file in report.files],
        "left_out": [{"path": path, "reason": reason} for path, reason in report.left_out],
    }
    emit(facts, as_json=as_json, render=lambda: _print_report(report, target))


def _facts(file: DownsampledFile) -> dict[str, object]:
    sizes = {"bytes_in": file.bytes_in, "bytes_out": file.bytes_out}
    return {"path": file.path, **sizes, "thinned": file.thinned, "note": file.note}


def _print_report(report: DownsampleReport, target: Path) -> None:
    downsampled = [file for file in report.files if file.thinned]
    if downsampled:
        _table(downsampled).show()
    for file in report.files:
        if file.note:
            print_line(f"{file.path} was {file.note}")
        if file.thinned and file.thinned.unreadable_rows:
            rows = file.thinned.unreadable_rows
            print_line(f"{file.path}: {rows:,} rows without a readable car or time are all kept.")
    for path, reason in report.left_out:
        print_line(f"left out  {path}: {reason}")
    before = sum(file.bytes_in for file in report.files) / 1e6
    after = sum(file.bytes_out for file in report.files) / 1e6
    files = f"{len(report.files)} files in {target}, {len(downsampled)} of them downsampled"
    print_line(f"{files}: {after:,.1f} MB of {before:,.1f} MB.")


def _table(files: list[DownsampledFile]) -> TextTable:
    table = TextTable(_COLUMNS[:1], _COLUMNS[1:])
    for file in files:
        counts = file.thinned
        if counts:
            numbers = (counts.rows_in, counts.rows_out, counts.samples_in, counts.samples_out)
            table.add(file.path, *(f"{number:,}" for number in (*numbers, file.bytes_in, file.bytes_out)))
    return table
