"""Implements the doctor's check of Dagster: its home, its database, and whether a daemon is alive.

Only this check imports Dagster, and only if a home exists, because the import alone takes 2 s. See ops/doctor.py for
the other checks.
"""

import os
from pathlib import Path

from apex_pipeline.errors import MissingExtraError
from apex_pipeline.extras import needs_libraries
from apex_pipeline.ops.doctor import CheckResult, CheckStatus, failed_check
from apex_pipeline.settings import Settings
from apex_pipeline.storage.temp_dirs import disk_space

_CHECK = "dagster"
_CONFIGURATION = "dagster.yaml"
# The runs of a sync of nine sessions take 5 MB.
_ENOUGH_BYTES = 20_000_000
# Dagster's own, which homes made before 2026-11-27 have, and the one with a database per run of those made that day.
_SLOWER_STORAGES = frozenset({"SqliteEventLogStorage", "KeptEventLog"})
_FASTER = (
    "Syncs take less time with the entries `storage` and `compute_logs` that new homes have: see docs/dagster.md, "
    "section Storage."
)
_ANOTHER_HOME = "set DAGSTER_HOME to another folder."


def check_dagster(settings: Settings) -> CheckResult:
    """Check the Dagster instance, if there is one; none is created."""
    home = settings.dagster_home
    try:
        home = home.expanduser().resolve()
    except RuntimeError:
        return _problem(f"{home} names a user that does not exist.", f"Correct it: {_ANOTHER_HOME}")
    place = next(folder for folder in (home, *home.parents) if folder.exists())
    if not place.is_dir():
        return _problem(f"{home} cannot be a folder: {place} is a file.", f"Remove it, or {_ANOTHER_HOME}")
    if not os.access(place, os.W_OK | os.X_OK):
        hint = f"Give this user the right to write there, or {_ANOTHER_HOME}"
        return _problem(f"{home} cannot be written: this user may not write to {place}.", hint)
    if disk_space(place).free < _ENOUGH_BYTES:
        return _problem(f"{home} is on a full disk.", f"Free some space there, or {_ANOTHER_HOME}")
    if not (home / _CONFIGURATION).exists():
        message = f"no home at {home} yet"
        hint = "The first `apex sync` creates it; DAGSTER_HOME sets another folder."
        return CheckResult(_CHECK, CheckStatus.NOTE, message, hint)
    return _check_instance(home)


def _check_instance(home: Path) -> CheckResult:
    try:
        with needs_libraries():
            from dagster import DagsterInstance  # noqa: PLC0415  -- see the module docstring

            from apex_pipeline.orchestration.home_errors import home_error  # noqa: PLC0415  -- imports its database
    except MissingExtraError as error:  # a reader's machine, which needs no Dagster
        return CheckResult(_CHECK, CheckStatus.NOTE, error.problem, error.hint)
    try:
        with DagsterInstance.from_config(str(home)) as instance:
            instance.get_dynamic_partitions("sessions")
            instance.get_runs(limit=1)
            statuses = instance.get_daemon_statuses()
            is_slow = type(instance.event_log_storage).__name__ in _SLOWER_STORAGES
    except Exception as error:  # noqa: BLE001  -- its database, configuration and plugins may raise anything
        return failed_check(_CHECK, home_error(home, error))
    alive = sorted(name for name, status in statuses.items() if status.healthy)
    if not alive:
        hint = "Only schedules and sensors need one: `apex ui` starts it, `apex sync` does not need it."
        hint = f"{hint} {_FASTER}" if is_slow else hint
        return CheckResult(_CHECK, CheckStatus.NOTE, f"{home}; no daemon is running", hint)
    silent = sorted(statuses.keys() - set(alive))
    if silent:
        return _problem(f"{home}; no heartbeat from {', '.join(silent)}.", "Restart the daemon.")
    return CheckResult(_CHECK, CheckStatus.OK, f"{home}; the daemon is alive")


def _problem(message: str, hint: str) -> CheckResult:
    return CheckResult(_CHECK, CheckStatus.PROBLEM, message, hint)
