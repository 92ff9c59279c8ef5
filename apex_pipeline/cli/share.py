"""Implements ``apex share``; export/links.py finds the object, storage/s3/store.py signs its URL."""

import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from apex_pipeline.cli.emit import emit
from apex_pipeline.cli.options import AsJson, Lake, store_at
from apex_pipeline.console import print_message
from apex_pipeline.export.links import find_object, public_address
from apex_pipeline.settings import load_settings


def share_command(
    what: Annotated[
        str, typer.Argument(metavar="WHAT", help="Key in the lake, path of a raw file, or TRACK/SESSION/TABLE.")
    ],
    expires: Annotated[int, typer.Option(help="Lifetime of the URL in seconds, at most 7 days.")] = 3600,
    public: Annotated[
        bool, typer.Option("--public", help="Print the permanent URL below PUBLIC_BASE_URL instead.")
    ] = False,
    lake: Lake = None,
    as_json: AsJson = False,
) -> None:
    """Print a URL with which anyone can read one object for a limited time."""
    store = store_at(lake)
    key = find_object(store, what)
    facts: dict[str, Any] = {"key": key, "is_public": public}
    if public:
        facts["url"] = public_address(store, key, load_settings().public_base_url)
        note = f"{key}, for as long as the bucket's policy makes it public"
    else:
        end = f"{datetime.now(UTC) + timedelta(seconds=expires):%Y-%m-%dT%H:%M:%SZ}"
        facts |= {"url": store.presigned_url(key, expires), "expires_s": expires, "expires_utc": end}
        note = f"{key}, until {end}, or until the credentials that signed it expire"
    emit(facts, as_json=as_json, render=lambda: _print_link(facts["url"], note))


def _print_link(url: str, note: str) -> None:
    sys.stdout.write(url + "\n")
    print_message(note)
