"""``apex sample``: a small copy of a race folder.

Here belongs the printing; the sample is made by ``lake/sample.py``.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table as RichTable

from apex_pipeline.cli.console import console
from apex_pipeline.cli.read import AsJson
from apex_pipeline.export.downsample import DownsampledFile as SampledFile
from apex_pipeline.export.downsample import DownsampleReport as Sample
from apex_pipeline.export.downsample import downsample_folder as make_sample
from apex_pipeline.lake.source_folder import identify, look_at
from apex_pipeline.settings import load_settings

_COLUMNS = ("telemetry", "rows in", "rows out", "samples in", "samples out", "bytes in", "bytes out")


def sample_command(
    source: Annotated[Path, typer.Argument(help="Folder of race files.")],
    target: Annotated[Path, typer.Argument(help="New folder for the small copy.")],
    every: Annotated[int, typer.Option(help="Of every car each Nth sample stays, with all its channels.", min=1)] = 100,
    as_json: AsJson = False,  # noqa: FBT002  -- a command-line switch
) -> None:
    """Copy a race folder with every Nth telemetry sample of every car; all other race files are copied whole."""
    folder = look_at(source)
    sample = make_sample(folder, identify(folder, load_settings()), target, every)
    if as_json:
        sys.stdout.write(json.dumps({"target": str(target), "every": every, **_as_dict(sample)}) + "\n")
    else:
        _print(sample, target)


def _as_dict(sample: Sample) -> dict[str, object]:
    return {
        "bytes_in": sum(file.bytes_in for file in sample.files),
        "bytes_out": sum(file.bytes_out for file in sample.files),
        "files": [asdict(file) for file in sample.files],
        "left_out": [{"path": path, "reason": reason} for path, reason in sample.left_out],
    }


def _print(sample: Sample, target: Path) -> None:
    out = console()
    thinned = [file for file in sample.files if file.thinned]
    if thinned:
        out.print(_table(thinned))
    for file in sample.files:
        if file.note:
            out.print(f"{escape(file.path)} was {escape(file.note)}", highlight=False, soft_wrap=True)
        if file.thinned and file.thinned.unreadable_rows:
            rows = file.thinned.unreadable_rows
            out.print(f"{escape(file.path)}: {rows:,} rows without a readable car or time stay, all of them.")
    for path, reason in sample.left_out:
        out.print(f"left out  {escape(path)}: {escape(reason)}", highlight=False, soft_wrap=True)
    sizes = [
        sum(sizes) / 1e6 for sizes in zip(*((file.bytes_in, file.bytes_out) for file in sample.files), strict=True)
    ]
    before, after = sizes or (0.0, 0.0)
    out.print(
        f"{len(sample.files)} files in {escape(str(target))}, {len(thinned)} of them thinned: "
        f"{after:,.1f} MB of {before:,.1f} MB.",
        highlight=False,
    )


def _table(files: list[SampledFile]) -> RichTable:
    table = RichTable()
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name == "telemetry" else "right", overflow="fold")
    for file in files:
        counts = file.thinned
        if counts:
            figures = (counts.rows_in, counts.rows_out, counts.samples_in, counts.samples_out)
            table.add_row(escape(file.path), *(f"{figure:,}" for figure in (*figures, file.bytes_in, file.bytes_out)))
    return table


__all__ = ["sample_command"]
