"""Contains the options of ``apex upload``; see the package ``apex_pipeline.upload`` for the work."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from apex_pipeline.settings import load_settings
from apex_pipeline.upload.command import UploadTarget, choose_bucket, default_prefix, run
from apex_pipeline.upload.packing import Compression
from apex_pipeline.upload.printing import JsonPrinter, LinePrinter


def upload_command(
    source: Annotated[
        Path | None, typer.Argument(help="Folder to upload; APEX_SOURCE_DIR without it.", show_default=False)
    ] = None,
    bucket: Annotated[str | None, typer.Option(help="The bucket; S3_BUCKET_NAME without it.")] = None,
    prefix: Annotated[
        str | None, typer.Option(help="What keys begin with; without it, data below APEX_LAKE_PREFIX.")
    ] = None,
    compress: Annotated[Compression | None, typer.Option(help="Compress .csv, .json and .xml on the way.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per file, then one sum.")] = False,
    emoji: Annotated[
        bool | None, typer.Option("--emoji/--no-emoji", help="By itself: on a terminal that writes UTF-8.")
    ] = None,
) -> None:
    """Copy every file of a folder into a bucket, unless it is there already; nothing is deleted.

    Race files and others go alike, under their own paths, verified; what was interrupted goes on where it stopped.
    """
    settings = load_settings()
    target = UploadTarget(
        bucket=choose_bucket(settings, bucket),
        prefix=default_prefix(settings) if prefix is None else prefix,
        compression=compress,
    )
    printer = JsonPrinter(sys.stdout) if as_json else LinePrinter(sys.stdout, emoji=emoji)
    raise typer.Exit(run(target, source or settings.source_dir, settings, printer))
