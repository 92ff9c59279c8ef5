"""Implements ``apex init``: a commented ``.env`` with every setting, and what to do next."""

from pathlib import Path
from typing import Annotated

import typer

from apex_pipeline.cli.emit import print_line
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.settings import environment_variables

_FILE = ".env"
_HEADER = """\
# Settings of apex. Remove the # in front of a line to change its default.
# A variable of the environment that is not empty takes precedence over this file.
"""
_FOR_S3 = """
# The lake in S3; `apex doctor` checks each of these.
USE_S3_DATA=true
S3_BUCKET_NAME={bucket}
AWS_REGION=us-east-1
AWS_ACCESS_KEY_ID=
AWS_SECRET_ACCESS_KEY=
# Only for a store that is not AWS: its address.
S3_ENDPOINT_URL=
"""


def init_command(
    bucket: Annotated[
        str | None, typer.Option("--bucket", help="Prepare a lake in this S3 bucket.", show_default=False)
    ] = None,
) -> None:
    """Write a commented .env with every setting, and say what to do next."""
    path = Path(_FILE).absolute()
    try:
        # Nobody but the user may read it: it will hold the key.
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError as error:
        raise ConfigurationError(f"{path} already exists.", "Edit it, or move it away first.") from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}.", "Choose another folder.") from error
    path.write_text(env_file(bucket), encoding="utf-8")
    print_line(f"Wrote {path}: every setting with its default, as comments.")
    if bucket is None:
        print_line("Next    apex demo, to see it work, or apex sync FOLDER with your race files.")
    else:
        print_line(f"Next    set the key in {_FILE}, then run apex doctor, which checks the bucket step by step.")


def env_file(bucket: str | None) -> str:
    """Return the text of a ``.env`` in which every setting is a comment, except those for a bucket.

    Args:
        bucket: The bucket of a lake in S3; ``None`` for a lake on disk.
    """
    shown = "" if bucket is None else _FOR_S3.format(bucket=bucket)
    lines = [
        f"# {text}\n#{name}={default}"
        for name, (default, text) in environment_variables().items()
        if f"\n{name}=" not in shown
    ]
    return f"{_HEADER}{shown}\n" + "\n".join(lines) + "\n"
