"""The doctor's look at Dagster: its home, its database, and whether a daemon is alive.

The one place of the doctor that imports Dagster, and only where a home exists: the import alone takes 2 s.
"""

from apex_pipeline.ops.doctor import CheckResult as ObjectFinding
from apex_pipeline.ops.doctor import CheckStatus as State
from apex_pipeline.settings import Settings

_CONFIGURATION = "dagster.yaml"


def check_dagster(settings: Settings) -> ObjectFinding:
    """Look at the Dagster instance; nothing is made where there is none."""
    home = settings.dagster_home.expanduser().resolve()
    if not (home / _CONFIGURATION).is_file():
        said = f"no home at {home} yet"
        return ObjectFinding("dagster", State.NOTE, said, "The first `apex sync` makes it; DAGSTER_HOME names another.")
    from dagster import DagsterInstance  # noqa: PLC0415  -- see above

    try:
        with DagsterInstance.from_config(str(home)) as instance:
            statuses = instance.get_daemon_statuses()
    except Exception as error:  # noqa: BLE001  -- whatever its database, configuration or plugins raise
        said = f"the instance in {home} cannot be opened: {type(error).__name__}."
        return ObjectFinding(
            "dagster", State.PROBLEM, said, f"Check {home / _CONFIGURATION} and the database it names."
        )
    alive = sorted(name for name, status in statuses.items() if status.healthy)
    if not alive:
        remedy = "Only schedules and sensors need one: `apex ui` runs it too, `apex sync` does without."
        return ObjectFinding("dagster", State.NOTE, f"{home}; no daemon is running", remedy)
    silent = sorted(statuses.keys() - set(alive))
    if silent:
        return ObjectFinding(
            "dagster", State.PROBLEM, f"{home}; no heartbeat of {', '.join(silent)}.", "Restart the daemon."
        )
    return ObjectFinding("dagster", State.OK, f"{home}; the daemon is alive")
