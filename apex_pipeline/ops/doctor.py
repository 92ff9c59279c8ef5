"""Whether a machine is ready for a sync: what is looked at, what was found, and what to do about it.

Here belong the looks at this machine and at the lake through its contract. What only a bucket has (credentials, region,
clock) is ``bucket_health.py``; Dagster's part, which must not be imported here, is ``cli/doctor_dagster.py``.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from uuid import uuid4

from apex_pipeline.errors import ApexError, ObjectMissingError, StorePermissionError
from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.lake.source_folder import look_at
from apex_pipeline.settings import Settings
from apex_pipeline.sources.gr_cup.naming_rules import load_rules
from apex_pipeline.storage.contract import ObjectStore
from apex_pipeline.storage.disk_space import disk_space
from apex_pipeline.storage.layout import CURRENT_SNAPSHOT_KEY

# Telemetry of a race of 3 GB spills about its own size; less than this is too little for the smallest real race.
ENOUGH_DISK = 5_000_000_000
# How many files a message names.
_NAMED_FILES = 3
# Written by control groups (containers); "max" where there is no limit.
_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: What was looked at.
        state: How it is.
        said: What was found, as a sentence; never holds a secret.
        remedy: The next step, empty where there is nothing to do.
    """

    check: str
    state: State
    said: str
    remedy: str = ""


def note_problems(check: str, look: Callable[[], Finding]) -> Finding:
    """Return what ``look`` finds, or the error it raises as a problem."""
    try:
        return look()
    except ApexError as error:
        return problem(check, error)


def problem(check: str, error: ApexError) -> Finding:
    """Return an error as a finding."""
    return Finding(check, State.PROBLEM, error.problem, error.remedy)


def examine_machine(settings: Settings) -> Iterator[Finding]:
    """Look at what a sync needs of this machine: names, source folder, disk, memory."""
    yield note_problems("tracks", lambda: _tracks(settings))
    yield note_problems("source", lambda: _source(settings))
    yield _disk(settings)
    yield _memory(settings.memory_limit, machine_memory())


def examine_folder(lake: Path) -> Finding:
    """Look whether a lake on this machine is there, or can be made."""
    folder = disk_space(lake).folder
    if lake.is_dir():
        return Finding("lake", State.OK, f"the folder {lake.absolute()}")
    if lake.exists():
        return Finding("lake", State.PROBLEM, f"the lake {lake} is a file.", "Set APEX_LAKE_DIR to a folder.")
    if not os.access(folder, os.W_OK):
        said = f"the lake {lake} cannot be made: this user may not write in {folder}."
        return Finding("lake", State.PROBLEM, said, "Set APEX_LAKE_DIR to a folder of yours.")
    return Finding("lake", State.NOTE, f"{lake.absolute()} is not there yet", "The first `apex sync` makes it.")


def examine_lake(store: ObjectStore, *, may_write: bool) -> Iterator[Finding]:
    """Try what is done with a lake, one operation after the other.

    Args:
        store: The lake.
        may_write: Put a small object there and remove it again.
    """
    yield note_problems("reading", lambda: _reading(store))
    if may_write:
        yield note_problems("writing", lambda: _writing(store))
        yield note_problems("unfinished", lambda: _unfinished(store))
    else:
        yield Finding("writing", State.NOTE, "not tried", "`apex doctor --write` puts a small object and removes it.")
    yield note_problems("published", lambda: _published(store))


def _tracks(settings: Settings) -> Finding:
    load_rules(settings.tracks_file)
    return Finding("tracks", State.OK, f"names are understood with {settings.tracks_file or 'the built-in rules'}")


def _source(settings: Settings) -> Finding:
    if "source_dir" not in settings.model_fields_set and not settings.source_dir.is_dir():
        return Finding("source", State.NOTE, "no source folder is named", "Name it: apex doctor FOLDER.")
    folder = look_at(settings.source_dir)
    said = f"{len(folder.files)} files, {folder.bytes / 1e6:,.1f} MB in {folder.root}"
    if not folder.refused:
        return Finding("source", State.OK, said)
    named = "; ".join(f"{path}: {reason}" for path, reason in folder.refused[:_NAMED_FILES])
    return Finding(
        "source",
        State.PROBLEM,
        f"{said}; {len(folder.refused)} cannot be used: {named}.",
        "Give this user the right to read them, or take them out; a sync leaves them out and says so.",
    )


def _disk(settings: Settings) -> Finding:
    where = {disk_space(settings.state_dir)} | (set() if settings.use_s3_data else {disk_space(settings.lake_dir)})
    folder, free = min(where, key=lambda space: space.free)
    if free < ENOUGH_DISK:
        return Finding(
            "disk",
            State.PROBLEM,
            f"only {free / 1e9:.1f} GB are free in {folder}.",
            "Free some space, or point APEX_STATE_DIR (telemetry is spilled there) or APEX_LAKE_DIR to a larger disk.",
        )
    return Finding("disk", State.OK, f"{free / 1e9:,.0f} GB free in {folder}")


def machine_memory() -> int | None:
    """Return the bytes of memory this process may have at most; ``None`` where the system does not say."""
    names = getattr(os, "sysconf_names", {})
    known = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")] if "SC_PHYS_PAGES" in names else []
    if _CONTAINER_LIMIT.is_file() and (limit := _CONTAINER_LIMIT.read_text(encoding="ascii").strip()).isdigit():
        known.append(int(limit))
    return min(known, default=None)


def _memory(limit: int, machine: int | None) -> Finding:
    said = f"a conversion may take {limit / 1e9:.1f} GB"
    if machine is None:
        return Finding("memory", State.NOTE, f"{said}; how much this machine has is not known")
    said += f" of this machine's {machine / 1e9:.1f} GB"
    if limit > machine:
        return Finding("memory", State.PROBLEM, f"{said}.", "Set APEX_MEMORY_LIMIT to at most half of the machine's.")
    if limit > machine / 2:
        return Finding("memory", State.NOTE, said, "APEX_MEMORY_LIMIT sets it; leave half to the system.")
    return Finding("memory", State.OK, said)


def _reading(store: ObjectStore) -> Finding:
    # The listing of one object and a reading that may find nothing: refusals come all the same, and for 2 requests.
    list(store.list(CURRENT_SNAPSHOT_KEY))
    with suppress(ObjectMissingError):
        store.read_start(CURRENT_SNAPSHOT_KEY, 1)
    return Finding("reading", State.OK, f"{store.uri} can be listed and read")


def _writing(store: ObjectStore) -> Finding:
    key = f"apex-doctor-{uuid4().hex}"
    store.write_bytes(key, b"apex doctor tried to write here")
    try:
        store.delete(key)
    except ApexError as error:
        said = f"{error.problem} {store.uri_of(key)} was written to try, and stays there."
        return Finding("writing", State.PROBLEM, said, error.remedy)
    return Finding("writing", State.OK, "a small object was written and removed again")


def _unfinished(store: ObjectStore) -> Finding:
    try:
        writes = store.unfinished_writes()
    except StorePermissionError as error:  # who may only read need not know
        return Finding("unfinished", State.NOTE, error.problem, "Ask with the rights of deploy/iam/pipeline.json.")
    if writes:
        said = f"writes that were begun and not finished: {len(writes)}"
        return Finding("unfinished", State.NOTE, said, "`apex gc` removes them.")
    return Finding("unfinished", State.OK, "no unfinished writes")


def _published(store: ObjectStore) -> Finding:
    snapshot = read_current(store)
    if snapshot is None:
        return Finding("published", State.NOTE, "nothing yet", "Run `apex sync FOLDER`.")
    return Finding("published", State.OK, f"{len(snapshot.sessions)} sessions in snapshot {snapshot.id}")


__all__ = [
    "ENOUGH_DISK",
    "Finding",
    "State",
    "examine_folder",
    "examine_lake",
    "examine_machine",
    "machine_memory",
    "note_problems",
    "problem",
]
