"""Manages the dynamic partitions: one per session of a track, added when the session is discovered, and one per race.

A partition is a session or a race, never a lap or a car: Dagster's UI slows down long before its limit of 100,000
partitions per asset. Keys of sessions are created and validated only by ``tables/session_key.py``. See
https://docs.dagster.io/guides/build/partitions-and-backfills
"""

from collections.abc import Iterable

import dagster as dg

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.orchestration.job_names import FIND_JOB
from apex_pipeline.tables.session_key import SessionKey, parse_session_key

# Name of the partitions of AMS2 races, one per race: its id.
RACES = "races"

sessions = dg.DynamicPartitionsDefinition(name="sessions")
races = dg.DynamicPartitionsDefinition(name=RACES)


def add_sessions(instance: dg.DagsterInstance, keys: Iterable[SessionKey]) -> list[str]:
    """Add the sessions that are not partitions yet, and return their sorted keys."""
    known = set(instance.get_dynamic_partitions("sessions"))
    new = sorted({str(key) for key in keys} - known)
    if new:
        instance.add_dynamic_partitions("sessions", new)
    return new


def session_key_from(context: dg.AssetExecutionContext) -> SessionKey:
    """Return the session of a step's partition.

    Raises:
        ConfigurationError: The run has no partition, one that was added by hand and is not a session key, or one that
            is not known: Dagster could not record what the step has done.
    """
    if not context.has_partition_key:
        raise ConfigurationError(
            "This step works on one session, and the run has no partition.", "Launch it for a partition."
        )
    partition = context.partition_key
    try:
        key = parse_session_key(partition)
    except ConfigurationError as error:
        raise ConfigurationError(f"The partition {partition!r} is not a session: {error.problem}", error.hint) from None
    if not context.instance.has_dynamic_partition("sessions", partition):
        raise ConfigurationError(
            f"The session {key} is not a partition.",
            f"Launch the job {FIND_JOB}, which adds every session it finds, and then this run again.",
        )
    return key
