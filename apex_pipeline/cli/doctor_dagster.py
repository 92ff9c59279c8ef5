"""Implements the doctor's check of Dagster: its home, its database, and whether a daemon is alive.

Only this check imports Dagster, and only if a home exists, because the import alone takes 2 s. See ops/doctor.py for
the other checks.
"""

from apex_pipeline.ops.doctor import CheckResult, CheckStatus
from apex_pipeline.settings import Settings

_CONFIGURATION = "dagster.yaml"


def check_dagster(settings: Settings) -> CheckResult:
    """Check the Dagster instance, if there is one; none is created."""
    home = settings.dagster_home.expanduser().resolve()
    if not (home / _CONFIGURATION).is_file():
        message = f"no home at {home} yet"
        return CheckResult(
            "dagster", CheckStatus.NOTE, message, "The first `apex sync` creates it; DAGSTER_HOME sets another folder."
        )
    from dagster import DagsterInstance  # noqa: PLC0415  -- see the module docstring

    try:
        with DagsterInstance.from_config(str(home)) as instance:
            statuses = instance.get_daemon_statuses()
    except Exception as error:  # noqa: BLE001  -- its database, configuration and plugins may raise anything
        message = f"the instance in {home} cannot be opened: {type(error).__name__}."
        return CheckResult(
            "dagster", CheckStatus.PROBLEM, message, f"Check {home / _CONFIGURATION} and the database it names."
        )
    alive = sorted(name for name, status in statuses.items() if status.healthy)
    if not alive:
        hint = "Only schedules and sensors need one: `apex ui` starts it, `apex sync` does not need it."
        return CheckResult("dagster", CheckStatus.NOTE, f"{home}; no daemon is running", hint)
    silent = sorted(statuses.keys() - set(alive))
    if silent:
        return CheckResult(
            "dagster", CheckStatus.PROBLEM, f"{home}; no heartbeat from {', '.join(silent)}.", "Restart the daemon."
        )
    return CheckResult("dagster", CheckStatus.OK, f"{home}; the daemon is alive")
