"""Contains the doctor's checks of this machine and of any lake: names, source folder, disk, memory, access.

See doctor_s3.py for credentials, region and clock of a bucket. The check of Dagster is in cli/doctor_dagster.py: only
commands may import Dagster.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from uuid import uuid4

from apex_pipeline.errors import ApexError, ObjectMissingError, StorePermissionError
from apex_pipeline.ingest.source_folder import scan_folder
from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.settings import Settings
from apex_pipeline.sources import all_sources
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import CURRENT_SNAPSHOT_KEY
from apex_pipeline.storage.temp_dirs import disk_space

# Telemetry of a 3 GB race spills about as much to disk; less than this is too little for the smallest real race.
ENOUGH_DISK = 5_000_000_000
# Number of files a message lists.
_NAMED_FILES = 3
# The memory limit of a container (cgroup v2); "max" without one.
_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


class CheckStatus(StrEnum):
    """Outcome of a check."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True)
class CheckResult:
    """Result of one check; the fields are the keys of ``apex doctor --json``.

    Attributes:
        check: Name of the check.
        state: Outcome.
        said: Message, without secrets.
        remedy: Next step; empty if there is nothing to do.
    """

    check: str
    state: CheckStatus
    message: str
    hint: str = ""


def run_check(check: str, body: Callable[[], CheckResult]) -> CheckResult:
    """Run a check; an error it raises becomes a failed result."""
    try:
        return body()
    except ApexError as error:
        return failed_check(check, error)


def failed_check(check: str, error: ApexError) -> CheckResult:
    """Return the result of a check that failed with an error."""
    return CheckResult(check, CheckStatus.PROBLEM, error.problem, error.hint)


def check_machine(settings: Settings) -> Iterator[CheckResult]:
    """Check what a sync needs of this machine: track names, source folder, disk, memory."""
    yield run_check("tracks", lambda: _tracks(settings))
    yield run_check("source", lambda: _source(settings))
    yield _disk(settings)
    yield _memory(settings.memory_limit, machine_memory())


def check_folder(lake: Path) -> CheckResult:
    """Check whether a local lake exists or can be created."""
    folder = disk_space(lake).folder
    if lake.is_dir():
        return CheckResult("lake", CheckStatus.OK, f"the folder {lake.absolute()}")
    if lake.exists():
        return CheckResult("lake", CheckStatus.PROBLEM, f"the lake {lake} is a file.", "Set APEX_LAKE_DIR to a folder.")
    if not os.access(folder, os.W_OK):
        said = f"the lake {lake} cannot be made: this user may not write in {folder}."
        return CheckResult("lake", CheckStatus.PROBLEM, said, "Set APEX_LAKE_DIR to a folder of yours.")
    return CheckResult(
        "lake", CheckStatus.NOTE, f"{lake.absolute()} is not there yet", "The first `apex sync` makes it."
    )


def check_lake(store: ObjectStore, *, may_write: bool) -> Iterator[CheckResult]:
    """Check the operations on a lake, one by one.

    Args:
        store: The lake.
        may_write: Also write a small object and remove it again.
    """
    yield run_check("reading", lambda: _reading(store))
    if may_write:
        yield run_check("writing", lambda: _writing(store))
        yield run_check("unfinished", lambda: _unfinished(store))
    else:
        yield CheckResult(
            "writing", CheckStatus.NOTE, "not tried", "`apex doctor --write` puts a small object and removes it."
        )
    yield run_check("published", lambda: _published(store))


def _tracks(settings: Settings) -> CheckResult:
    for source in all_sources():
        source.load_rules(settings)
    return CheckResult(
        "tracks", CheckStatus.OK, f"names are understood with {settings.tracks_file or 'the built-in rules'}"
    )


def _source(settings: Settings) -> CheckResult:
    if "source_dir" not in settings.model_fields_set and not settings.source_dir.is_dir():
        return CheckResult("source", CheckStatus.NOTE, "no source folder is named", "Name it: apex doctor FOLDER.")
    folder = scan_folder(settings.source_dir)
    said = f"{len(folder.files)} files, {folder.bytes / 1e6:,.1f} MB in {folder.root}"
    if not folder.refused:
        return CheckResult("source", CheckStatus.OK, said)
    named = "; ".join(f"{path}: {reason}" for path, reason in folder.refused[:_NAMED_FILES])
    return CheckResult(
        "source",
        CheckStatus.PROBLEM,
        f"{said}; {len(folder.refused)} cannot be used: {named}.",
        "Give this user the right to read them, or take them out; a sync leaves them out and says so.",
    )


def _disk(settings: Settings) -> CheckResult:
    where = {disk_space(settings.state_dir)} | (set() if settings.use_s3_data else {disk_space(settings.lake_dir)})
    folder, free = min(where, key=lambda space: space.free)
    if free < ENOUGH_DISK:
        return CheckResult(
            "disk",
            CheckStatus.PROBLEM,
            f"only {free / 1e9:.1f} GB are free in {folder}.",
            "Free some space, or point APEX_STATE_DIR (telemetry is spilled there) or APEX_LAKE_DIR to a larger disk.",
        )
    return CheckResult("disk", CheckStatus.OK, f"{free / 1e9:,.0f} GB free in {folder}")


def machine_memory() -> int | None:
    """Return the memory limit of this process in bytes; ``None`` where the system does not report one."""
    names = getattr(os, "sysconf_names", {})
    known = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")] if "SC_PHYS_PAGES" in names else []
    if _CONTAINER_LIMIT.is_file() and (limit := _CONTAINER_LIMIT.read_text(encoding="ascii").strip()).isdigit():
        known.append(int(limit))
    return min(known, default=None)


def _memory(limit: int, machine: int | None) -> CheckResult:
    said = f"a conversion may take {limit / 1e9:.1f} GB"
    if machine is None:
        return CheckResult("memory", CheckStatus.NOTE, f"{said}; how much this machine has is not known")
    said += f" of this machine's {machine / 1e9:.1f} GB"
    if limit > machine:
        return CheckResult(
            "memory", CheckStatus.PROBLEM, f"{said}.", "Set APEX_MEMORY_LIMIT to at most half of the machine's."
        )
    if limit > machine / 2:
        return CheckResult("memory", CheckStatus.NOTE, said, "APEX_MEMORY_LIMIT sets it; leave half to the system.")
    return CheckResult("memory", CheckStatus.OK, said)


def _reading(store: ObjectStore) -> CheckResult:
    # List one object and read one that may be missing: two requests that show a refusal as well as larger ones.
    list(store.list(CURRENT_SNAPSHOT_KEY))
    with suppress(ObjectMissingError):
        store.read_head(CURRENT_SNAPSHOT_KEY, 1)
    return CheckResult("reading", CheckStatus.OK, f"{store.uri} can be listed and read")


def _writing(store: ObjectStore) -> CheckResult:
    key = f"apex-doctor-{uuid4().hex}"
    store.write_bytes(key, b"apex doctor tried to write here")
    try:
        store.delete(key)
    except ApexError as error:
        said = f"{error.problem} {store.uri_of(key)} was written to try, and stays there."
        return CheckResult("writing", CheckStatus.PROBLEM, said, error.hint)
    return CheckResult("writing", CheckStatus.OK, "a small object was written and removed again")


def _unfinished(store: ObjectStore) -> CheckResult:
    try:
        writes = store.incomplete_uploads()
    except StorePermissionError as error:  # read-only users do not need this
        return CheckResult(
            "unfinished", CheckStatus.NOTE, error.problem, "Ask with the rights of deploy/iam/pipeline.json."
        )
    if writes:
        said = f"writes that were begun and not finished: {len(writes)}"
        return CheckResult("unfinished", CheckStatus.NOTE, said, "`apex gc` removes them.")
    return CheckResult("unfinished", CheckStatus.OK, "no unfinished writes")


def _published(store: ObjectStore) -> CheckResult:
    snapshot = read_current(store)
    if snapshot is None:
        return CheckResult("published", CheckStatus.NOTE, "nothing yet", "Run `apex sync FOLDER`.")
    return CheckResult("published", CheckStatus.OK, f"{len(snapshot.sessions)} sessions in snapshot {snapshot.id}")
