"""Contains the sensor that alerts people to failed runs, in one message per tick however many failed.

Dagster's own run failure sensors send one message per run: 2,000 failed sessions would be 2,000 messages. See
``alerts.py`` of the package for where it is sent; without a receiver in the settings, the sensor does not exist.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster import DagsterRunStatus, RunRecord, RunsFilter

from apex_pipeline.alerts import Alert, Receiver, receivers_of
from apex_pipeline.errors import ConfigurationError, StoreUnavailableError
from apex_pipeline.orchestration.attempts import PARTITION_TAG, is_typed, step_failures
from apex_pipeline.orchestration.automation_table import ALERT_SENSOR, sensor_status
from apex_pipeline.settings import Settings

_INTERVAL_S = 60
# Runs named in one message; the rest are only counted.
_SHOWN = 10
# Most failed runs read in one tick: more than any number of workers fails in a minute.
_MOST_RUNS = 10_000
# A run is noticed although it was recorded a little after its time, or by a machine whose clock is behind.
_OVERLAP = timedelta(minutes=5)
_WILL_RETRY = "dagster/will_retry"


@dataclass(frozen=True)
class _State:
    """What a receiver has got.

    Attributes:
        since_s: Time of the latest failure that was reported to it, seconds since 1970.
        reported: Runs around this time that were reported.
    """

    since_s: float
    reported: tuple[str, ...]


def build_alert_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """Return the sensor, if there is a receiver."""
    receivers = receivers_of(settings)
    if not receivers:
        return []

    @dg.sensor(
        name=ALERT_SENSOR,
        minimum_interval_seconds=_INTERVAL_S,
        default_status=sensor_status(ALERT_SENSOR, settings.environment),
        description="Report failed runs, with problem and remedy, where the settings say: Slack, a URL, e-mail.",
    )
    def alert_failed_runs(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        states = _parsed(context.cursor)
        results = [_report(context.instance, name, receiver, states) for name, receiver in receivers.items()]
        return dg.SensorResult(skip_reason=" ".join(results), cursor=_cursor(states))

    return [alert_failed_runs]


def _report(instance: dg.DagsterInstance, name: str, receiver: Receiver, states: dict[str, _State]) -> str:
    """Send the failures that a receiver has not got yet, and return what was done.

    Each receiver has a state of its own: one that is down gets what it missed later, and the others nothing twice.
    """
    if name not in states:
        states[name] = _State((datetime.now(UTC) + _OVERLAP).timestamp(), ())
        return f"{name}: failed runs are reported from now on."
    before = states[name]
    failures = _failures_after(instance, before.since_s - _OVERLAP.total_seconds())
    new = [record for record in failures if record.dagster_run.run_id not in before.reported]
    try:
        if new:
            receiver(alert_of(instance, new))
    except (ConfigurationError, StoreUnavailableError) as error:
        return f"{name}: {len(new)} failed runs not delivered. {error.problem} {error.hint}"
    states[name] = _state_after(before, failures)
    return f"{name}: {len(new)} failed runs reported."


def _failures_after(instance: dg.DagsterInstance, since_s: float) -> list[RunRecord]:
    """Return the runs that failed after a time and are not retried.

    By the time of their end: the time of their last change is also that of a tag added later.
    """
    filters = RunsFilter(statuses=[DagsterRunStatus.FAILURE], updated_after=datetime.fromtimestamp(since_s, UTC))
    records = instance.get_run_records(filters, _MOST_RUNS, "update_timestamp", ascending=True)
    return [record for record in records if _ended_s(record) >= since_s and not _is_retried(record)]


def alert_of(instance: dg.DagsterInstance, failed: Sequence[RunRecord]) -> Alert:
    """Return the message about failed runs.

    Only what a typed failure says of itself is quoted: the text of any other error may hold whatever it was given.
    """
    lines = [_line(instance, record) for record in failed[:_SHOWN]]
    rest = len(failed) - _SHOWN
    count = f"{len(failed)} run{'s' if len(failed) > 1 else ''}"
    return Alert(f"Dagster: {count} failed", (*lines, *([f"… and {rest} more"] if rest > 0 else [])))


def _line(instance: dg.DagsterInstance, record: RunRecord) -> str:
    run = record.dagster_run
    name = " ".join(filter(None, [run.job_name, run.tags.get(PARTITION_TAG)]))
    facts = next((found for found in step_failures(instance, run.run_id) if is_typed(found)), None)
    said = f"{facts['problem']} {facts['remedy']}" if facts else "See its page in Dagster."
    return f"{name} (run {run.run_id[:8]}): {said}"


def _is_retried(record: RunRecord) -> bool:
    return record.dagster_run.tags.get(_WILL_RETRY) == "true"


def _ended_s(record: RunRecord) -> float:
    return record.end_time or record.update_timestamp.timestamp()


def _state_after(before: _State, failures: Sequence[RunRecord]) -> _State:
    """Return the state after these failures: the latest time, and those that the overlap would show again."""
    latest_s = max([before.since_s, *map(_ended_s, failures)])
    again = [record for record in failures if _ended_s(record) >= latest_s - _OVERLAP.total_seconds()]
    return _State(latest_s, tuple(record.dagster_run.run_id for record in again))


def _cursor(states: Mapping[str, _State]) -> str:
    return json.dumps({name: asdict(state) for name, state in states.items()})


def _parsed(cursor: str | None) -> dict[str, _State]:
    """Parse a cursor; another version's text counts as none."""
    try:
        found = json.loads(cursor or "{}")
        return {name: _State(float(state["since_s"]), tuple(state["reported"])) for name, state in found.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}
