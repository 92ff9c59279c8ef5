"""Manages the dynamic partitions: one per session of a track, added when the session is discovered.

A partition is a session, never a lap or a car: Dagster's UI slows down long before its limit of 100,000 partitions per
asset. Partition keys are created and validated only by ``tables/session_key.py``. See
https://docs.dagster.io/guides/build/partitions-and-backfills
"""

from collections.abc import Iterable

import dagster as dg

from apex_pipeline.tables.session_key import SessionKey, parse_session_key

sessions = dg.DynamicPartitionsDefinition(name="sessions")


def add_sessions(instance: dg.DagsterInstance, keys: Iterable[SessionKey]) -> list[str]:
    """Add the sessions that are not partitions yet, and return their sorted keys."""
    known = set(instance.get_dynamic_partitions("sessions"))
    new = sorted({str(key) for key in keys} - known)
    if new:
        instance.add_dynamic_partitions("sessions", new)
    return new


def session_key_from(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> SessionKey:
    """Return the session of a step's partition.

    Raises:
        ConfigurationError: The partition key was added by hand and is not a session key.
    """
    return parse_session_key(context.partition_key)
