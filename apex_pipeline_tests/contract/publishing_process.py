"""A process that publishes sessions as fast as it can: ``TRACK SESSIONS ROUNDS``, see test_publication.py."""

import sys
from datetime import UTC, datetime, timedelta

from apex_pipeline.lake.publication import Change, publish
from apex_pipeline.lake.published_session import PublishedSession, TableRecord
from apex_pipeline.lake.snapshot import stable_key
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store
from apex_pipeline.tables.session_key import SessionKey

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def published_record(key: SessionKey, version: int) -> PublishedSession:
    """Return the published record of a session with one table, whose number of rows is the version."""
    table = TableRecord(stable_key("laps", key), f"{version:064x}", 100 + version, version)
    return PublishedSession(key.track, key.session, f"v{version}", ("gr_cup",), {"laps": table})


def publish_version(store: ObjectStore, key: SessionKey, version: int) -> None:
    """Publish a session in a version."""
    publish(store, {key: Change(published_record(key, version))}, NOON + timedelta(seconds=version))


def main() -> None:
    """Publish every session once per round."""
    track, sessions, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    store = open_store(load_settings(), for_writing=True)
    for version in range(1, rounds + 1):
        for number in range(sessions):
            publish_version(store, SessionKey(track, f"R{number + 1}"), version)


if __name__ == "__main__":
    main()
