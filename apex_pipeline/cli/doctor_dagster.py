"""Contains the doctor's check of Dagster: its home, its database, and whether a daemon is alive.

Only this check imports Dagster, and only where a home exists: the import alone takes 2 s. See ops/doctor.py for the
other checks.
"""

from apex_pipeline.ops.doctor import CheckResult, CheckStatus
from apex_pipeline.settings import Settings

_CONFIGURATION = "dagster.yaml"


def check_dagster(settings: Settings) -> CheckResult:
    """Check the Dagster instance, if there is one; none is created."""
    home = settings.dagster_home.expanduser().resolve()
    if not (home / _CONFIGURATION).is_file():
        said = f"no home at {home} yet"
        return CheckResult(
            "dagster", CheckStatus.NOTE, said, "The first `apex sync` makes it; DAGSTER_HOME names another."
        )
    from dagster import DagsterInstance  # noqa: PLC0415  -- see the module docstring

    try:
        with DagsterInstance.from_config(str(home)) as instance:
            statuses = instance.get_daemon_statuses()
    except Exception as error:  # noqa: BLE001  -- whatever its database, configuration or plugins raise
        said = f"the instance in {home} cannot be opened: {type(error).__name__}."
        return CheckResult(
            "dagster", CheckStatus.PROBLEM, said, f"Check {home / _CONFIGURATION} and the database it names."
        )
    alive = sorted(name for name, status in statuses.items() if status.healthy)
    if not alive:
        remedy = "Only schedules and sensors need one: `apex ui` runs it too, `apex sync` does without."
        return CheckResult("dagster", CheckStatus.NOTE, f"{home}; no daemon is running", remedy)
    silent = sorted(statuses.keys() - set(alive))
    if silent:
        return CheckResult(
            "dagster", CheckStatus.PROBLEM, f"{home}; no heartbeat of {', '.join(silent)}.", "Restart the daemon."
        )
    return CheckResult("dagster", CheckStatus.OK, f"{home}; the daemon is alive")
