"""Checks this machine and any lake for `apex doctor`: names, source folder, disk, memory, access.

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
from apex_pipeline.ingest.scan import scan_source
from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.settings import Settings
from apex_pipeline.sources import all_sources
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import CURRENT_SNAPSHOT_KEY
from apex_pipeline.storage.temp_dirs import disk_space

# Converting 3 GB of telemetry spills about 3 GB to disk; with less free space, the smallest real race may not fit.
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
        message: What was found, without secrets.
        hint: Next step; empty if there is nothing to do.
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
    """Check whether this machine is ready for a sync: track names, source folder, disk, memory."""
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
        return CheckResult(
            "lake", CheckStatus.PROBLEM, f"the lake path {lake} is a file.", "Set APEX_LAKE_DIR to a folder."
        )
    if not os.access(folder, os.W_OK):
        message = f"the lake {lake} cannot be created: this user may not write to {folder}."
        return CheckResult("lake", CheckStatus.PROBLEM, message, "Set APEX_LAKE_DIR to a folder that you may write to.")
    return CheckResult(
        "lake", CheckStatus.NOTE, f"{lake.absolute()} does not exist yet", "The first `apex sync` creates it."
    )


def check_lake(store: ObjectStore, *, may_write: bool) -> Iterator[CheckResult]:
    """Check the operations on a lake, one by one.

    Args:
        store: The lake.
        may_write: Whether to write a small object as a test, and remove it again.
    """
    yield run_check("reading", lambda: _reading(store))
    if may_write:
        writing = run_check("writing", lambda: _writing(store))
        yield writing
        if writing.state is CheckStatus.OK:
            yield run_check("concurrency", lambda: _concurrency(store))
        yield run_check("unfinished", lambda: _unfinished(store))
    else:
        yield CheckResult(
            "writing", CheckStatus.NOTE, "not tried", "`apex doctor --write` writes a small object and removes it."
        )
    yield run_check("published", lambda: _published(store))


def _tracks(settings: Settings) -> CheckResult:
    for source in all_sources():
        source.load_rules(settings)
    return CheckResult(
        "tracks", CheckStatus.OK, f"names are parsed with {settings.tracks_file or 'the built-in rules'}"
    )


def _source(settings: Settings) -> CheckResult:
    is_given = settings.source_uri is not None or "source_dir" in settings.model_fields_set
    if not is_given and not settings.source_dir.is_dir():
        return CheckResult(
            "source", CheckStatus.NOTE, "no source folder is given", "Give it as an argument: apex doctor FOLDER."
        )
    folder = scan_source(settings)
    message = f"{len(folder.files)} files, {folder.bytes / 1e6:,.1f} MB in {folder.root}"
    if not folder.refused:
        return CheckResult("source", CheckStatus.OK, message)
    named = "; ".join(f"{path}: {reason}" for path, reason in folder.refused[:_NAMED_FILES])
    return CheckResult(
        "source",
        CheckStatus.PROBLEM,
        f"{message}; {len(folder.refused)} cannot be used: {named}.",
        "Give this user the right to read them, or remove them; a sync skips them and reports it.",
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
    message = f"a conversion may use {limit / 1e9:.1f} GB"
    if machine is None:
        return CheckResult("memory", CheckStatus.NOTE, f"{message}; the memory of this machine is unknown")
    message += f" of this machine's {machine / 1e9:.1f} GB"
    if limit > machine:
        return CheckResult(
            "memory", CheckStatus.PROBLEM, f"{message}.", "Set APEX_MEMORY_LIMIT to at most half of the machine's."
        )
    if limit > machine / 2:
        return CheckResult(
            "memory", CheckStatus.NOTE, message, "Lower APEX_MEMORY_LIMIT to leave half of the memory to the system."
        )
    return CheckResult("memory", CheckStatus.OK, message)


def _reading(store: ObjectStore) -> CheckResult:
    # List one object and try to read one: two small requests that fail if the rights to list or read are missing.
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
        message = f"{error.problem} {store.uri_of(key)} was written as a test and is still there."
        return CheckResult("writing", CheckStatus.PROBLEM, message, error.hint)
    return CheckResult("writing", CheckStatus.OK, "a small object was written and removed again")


def _concurrency(store: ObjectStore) -> CheckResult:
    if store.has_conditional_writes:
        return CheckResult("concurrency", CheckStatus.OK, "the store lets one of several simultaneous writers win")
    return CheckResult(
        "concurrency",
        CheckStatus.NOTE,
        "the store ignores or refuses conditional writes (If-Match), so only leases keep two syncs apart",
        "Run one sync at a time, or use a store with conditional writes: AWS, or a current version of the server.",
    )


def _unfinished(store: ObjectStore) -> CheckResult:
    try:
        uploads = store.incomplete_uploads()
    except StorePermissionError as error:  # read-only users do not need this right
        return CheckResult(
            "unfinished", CheckStatus.NOTE, error.problem, "Run this check with the rights in deploy/iam/pipeline.json."
        )
    if uploads:
        message = f"incomplete uploads: {len(uploads)}"
        return CheckResult("unfinished", CheckStatus.NOTE, message, "`apex gc` removes them.")
    return CheckResult("unfinished", CheckStatus.OK, "no incomplete uploads")


def _published(store: ObjectStore) -> CheckResult:
    snapshot = read_current(store)
    if snapshot is None:
        return CheckResult("published", CheckStatus.NOTE, "nothing yet", "Run `apex sync FOLDER`.")
    return CheckResult("published", CheckStatus.OK, f"{len(snapshot.sessions)} sessions in snapshot {snapshot.id}")
