"""Implements ``apex s3-server``: a local S3 server for trying the commands that need a bucket."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from apex_pipeline.cli.emit import print_line
from apex_pipeline.ops.s3_server import prepare_server
from apex_pipeline.process.children import run_until_stopped


def s3_server_command(
    folder: Annotated[Path, typer.Option(help="Holds the objects and the key; the same folder keeps them.")] = Path(
        ".apex", "s3-server"
    ),
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.", min=1024, max=55_535)] = 8333,
    bucket: Annotated[str, typer.Option(help="Bucket that the server makes.")] = "races",
) -> None:
    """Run a local S3 server for trying: prints the settings with which other commands use it."""
    server = prepare_server(folder, port, bucket)
    print_line("In another terminal, to use it until you unset them (Ctrl+C here stops the server):")
    for name, value in server.variables.items():
        print_line(f"export {name}={value}")
    sys.stdout.flush()  # what follows may take days
    log = folder.absolute() / "log"
    code = run_until_stopped(server.command, {**os.environ, "TMPDIR": str(folder.absolute())}, log)
    print_line(f"The server has ended; its log is {log}.")
    raise typer.Exit(code)
