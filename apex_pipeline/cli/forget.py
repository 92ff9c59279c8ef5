"""Implements ``apex forget``; see lake/forget.py for what is taken out and what stays."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from apex_pipeline.cli.emit import emit, print_line
from apex_pipeline.cli.format import count
from apex_pipeline.cli.options import AsJson, Lake, Yes, require_yes, writable_store_at
from apex_pipeline.console import print_message
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.lake.forget import Removal, Return, bring_back, plan_removal, plan_return, remove
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.leases import Holder

# Maximum files listed; the rest are only counted.
_SHOWN = 12


def forget_command(
    name: Annotated[str, typer.Argument(help="Path of a raw file, TRACK/SESSION, or a track.", metavar="NAME")],
    undo: Annotated[bool, typer.Option("--undo", help="Bring it back, if its bytes are still there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be taken out.")] = False,
    yes: Yes = False,
    lake: Lake = None,
    as_json: AsJson = False,
) -> None:
    """Take a raw file, a session or a track out of the lake; no sync brings it back.

    It is no longer published from now on. Its bytes stay until `apex gc` removes them (by default 30 days later), and
    until then earlier snapshots still show it (--as-of).
    """
    if undo and dry_run:
        raise ConfigurationError("--undo and --dry-run cannot be combined.", "Choose one of them.")
    store = writable_store_at(lake)
    if undo:
        _undo(store, name, yes=yes, as_json=as_json)
        return
    removal = plan_removal(store, name, load_settings())
    facts = {
        "name": name,
        "files": [{"path": file.path, "sha256": file.sha256, "bytes": file.bytes} for file in removal.files],
        "sessions": [str(key) for key in removal.sessions],
        "is_taken_out": not dry_run,
    }
    if not dry_run:
        if not yes:
            _print_files(removal)
        if not require_yes(_question(removal), yes=yes):
            print_line("Nothing was changed.")
            return
        remove(store, removal, datetime.now(UTC), _tell_wait)
    emit(facts, as_json=as_json, render=lambda: _print_removal(removal, is_done=not dry_run))


def _question(removal: Removal) -> str:
    sessions = ", ".join(map(str, removal.sessions))
    return f"Take {count(len(_paths(removal)), 'file')}{f' of {sessions}' if sessions else ''} out of the lake?"


def _paths(removal: Removal) -> list[str]:
    """Return the path of each file once, although several contents of it may be taken out."""
    return list(dict.fromkeys(file.path for file in removal.files))


def _print_files(removal: Removal) -> None:
    paths = _paths(removal)
    for path in paths[:_SHOWN]:
        print_line(f"  {path}")
    if len(paths) > _SHOWN:
        print_line(f"  … and {len(paths) - _SHOWN:,} more; --json prints them all.")


def _print_removal(removal: Removal, *, is_done: bool) -> None:
    verb = "Taken out" if is_done else "Would be taken out"
    print_line(f"{verb}: {count(len(_paths(removal)), 'file')}")
    _print_files(removal)
    for key in removal.sessions:
        then = "; the next sync publishes it again from its other files" if removal.is_partial else ""
        print_line(f"{key} {'is' if is_done else 'would be'} no longer published{then}.")
    if is_done:
        print_line("`apex gc` removes the bytes once they expire; until then earlier snapshots still show them.")
        print_line(f"To bring it back: apex forget --undo '{removal.name}'")


def _undo(store: ObjectStore, name: str, *, yes: bool, as_json: bool) -> None:
    paths = plan_return(store, name, load_settings())
    if not require_yes(f"Bring {count(len(paths), 'file')} back?", yes=yes):
        print_line("Nothing was changed.")
        return
    found = bring_back(store, paths)
    facts = {"name": name, "present": found.present, "gone": found.gone}
    emit(facts, as_json=as_json, render=lambda: _print_return(found))


def _print_return(found: Return) -> None:
    if found.present:
        print_line(f"Brought back: {count(len(found.present), 'file')}. The next sync publishes them again.")
    for path in found.gone[:_SHOWN]:
        print_line(f"{path}: its bytes are gone; put it back into the source folder, and the next sync copies it.")


def _tell_wait(holder: Holder) -> None:
    print_message(f"Waiting for {holder}.")
