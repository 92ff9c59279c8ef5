"""``apex share``: an address under which somebody else can read one object of the lake.

Here belongs the printing; the address is made by the store, the object is found by ``lake/sharing.py``.
"""

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from apex_pipeline.cli.console import error_console
from apex_pipeline.cli.read import AsJson, Lake, store_at
from apex_pipeline.export.links import find_object, public_address
from apex_pipeline.settings import load_settings


def share_command(
    what: Annotated[str, typer.Argument(help="Key of the lake, path of a raw file, or TRACK/SESSION/TABLE.")],
    expires: Annotated[int, typer.Option(help="Seconds for which the address works; 7 days at most.")] = 3600,
    public: Annotated[bool, typer.Option("--public", help="The lasting address at PUBLIC_BASE_URL.")] = False,  # noqa: FBT002  -- a command-line switch
    lake: Lake = None,
    as_json: AsJson = False,  # noqa: FBT002  -- a command-line switch
) -> None:
    """Print an address under which anyone can read one object, for a time."""
    store = store_at(lake)
    key = find_object(store, what)
    facts: dict[str, Any] = {"key": key, "is_public": public}
    if public:
        facts["url"] = public_address(store, key, load_settings().public_base_url)
        note = f"{key}, for as long as the bucket's policy makes it public"
    else:
        end = f"{datetime.now(UTC) + timedelta(seconds=expires):%Y-%m-%dT%H:%M:%SZ}"
        facts |= {"url": store.shared_url(key, expires), "expires_s": expires, "expires_utc": end}
        note = f"{key}, until {end}, or until the credentials that signed it end"
    if as_json:
        sys.stdout.write(json.dumps(facts) + "\n")
        return
    sys.stdout.write(facts["url"] + "\n")
    error_console().print(note, markup=False, highlight=False, soft_wrap=True)


__all__ = ["share_command"]
