"""Opening a lake as it was, and the requests that a reader of one session sends."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from apex_pipeline.catalog import Catalog, open_catalog
from apex_pipeline.errors import ConfigurationError, ObjectMissingError
from apex_pipeline.lake.rollback import plan_rollback, roll_back
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables import LISTED_SESSIONS
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.catalog.race_lake import local_store
from apex_pipeline_tests.lake.tables import NOON, derive_tables, publish_tables, renew_roll_ups
from apex_pipeline_tests.servers.seaweed import S3Bucket
from apex_pipeline_tests.storage.s3.harness import connect, store_of

_R1, _R2 = SessionKey("spa", "R1"), SessionKey("spa", "R2")
_HOUR = timedelta(hours=1)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A lake with R1 (2 laps) at 12:00, R2 at 13:00, and R1 with 3 laps at 14:00."""
    store = local_store(tmp_path)
    publish_tables(store, _R1, laps=2)
    publish_tables(store, _R2, now=NOON + _HOUR)
    publish_tables(store, _R1, "v2", laps=3, now=NOON + 2 * _HOUR)
    return store


@pytest.mark.parametrize(
    ("minutes", "laps", "sessions"), [(30, 2, ["R1"]), (90, 2, ["R1", "R2"]), (150, 3, ["R1", "R2"])]
)
def test_a_lake_is_opened_as_it_was(store: LocalStore, minutes: int, laps: int, sessions: list[str]) -> None:
    moment = NOON + timedelta(minutes=minutes)
    settings = load_settings(lake_dir=Path(store.uri), state_dir=Path(store.uri).parent / "state")
    for as_of in (moment, moment.isoformat(), Catalog(store, moment).snapshot.id):
        catalog = open_catalog(store.uri, settings, as_of=as_of)
        assert len(catalog.laps("spa", "R1")) == laps
        assert list(catalog.sessions()["session"]) == sessions


def test_a_catalog_that_is_refreshed_for_ever_remembers_no_more_than_one_earlier_state(store: LocalStore) -> None:
    catalog = Catalog(store)
    for hour in range(3, 9):
        publish_tables(store, _R1, f"v{hour}", laps=hour, now=NOON + hour * _HOUR)
        catalog = catalog.refreshed()
        assert len(catalog.laps("spa", "R1")) == hour
        assert len(catalog.laps("spa")) == hour + 1
    remembered = catalog.snapshot._records  # pyright: ignore[reportPrivateUsage]  -- what nobody else can see
    assert len(remembered) == 3  # two sessions, and the earlier state of the one that changed


def _published(catalog: Catalog) -> dict[str, bool]:
    table = catalog.list_arrow("sessions")
    assert LISTED_SESSIONS.violations(table) == []
    return dict(zip(table["session"].to_pylist(), table["is_published"].to_pylist(), strict=True))


def test_a_rollback_leaves_what_it_takes_out_listed_as_not_published(store: LocalStore) -> None:
    before = Catalog(store)
    assert _published(before) == {"R1": True, "R2": True}
    first = Catalog(store, NOON + timedelta(minutes=30)).snapshot
    roll_back(store, plan_rollback(store, first), NOON + 3 * _HOUR)
    catalog = Catalog(store)
    assert _published(catalog) == {"R1": True, "R2": False}
    assert [str(key) for key in catalog.snapshot.keys] == ["spa/R1"]
    assert list(catalog.laps()["session"].unique()) == ["R1"]
    with pytest.raises(ObjectMissingError, match="spa/R2 is not published"):
        catalog.laps("spa", "R2")
    # A snapshot lists what it has, whatever was published since.
    assert _published(Catalog(store, first.id)) == {"R1": True}
    assert _published(before) == {"R1": True, "R2": True}
    assert _published(Catalog(store, before.snapshot.id)) == {"R1": True, "R2": True}


def test_a_session_whose_tables_were_never_derived_is_listed_as_not_published(store: LocalStore) -> None:
    derive_tables(store, SessionKey("spa", "R3"))
    renew_roll_ups(store)
    assert _published(Catalog(store)) == {"R1": True, "R2": True, "R3": False}


def test_a_session_that_was_published_later_is_not_there(store: LocalStore) -> None:
    with pytest.raises(ObjectMissingError, match="spa/R2 is not published"):
        Catalog(store, NOON).laps("spa", "R2")


def test_a_time_before_everything_and_a_time_without_a_zone_are_errors(store: LocalStore) -> None:
    with pytest.raises(ObjectMissingError, match="nothing was published yet"):
        Catalog(store, NOON - _HOUR)
    with pytest.raises(ConfigurationError, match="has no time zone"):
        Catalog(store, "2026-11-21T12:00:00")


@pytest.mark.parametrize("as_of", ["2026-11-21", date(2026, 11, 21)])
def test_a_date_means_the_end_of_that_day_in_utc(store: LocalStore, as_of: date | str) -> None:
    publish_tables(store, _R1, "v3", laps=9, now=NOON + 12 * _HOUR)
    assert len(Catalog(store).laps("spa", "R1")) == 9
    assert len(Catalog(store, as_of).laps("spa", "R1")) == 3
    with pytest.raises(ObjectMissingError, match="No snapshot of 2026-11-20T23:59:59"):
        Catalog(store, "2026-11-20")


def test_the_snapshots_are_listed_and_each_can_be_opened(store: LocalStore) -> None:
    catalog = Catalog(store)
    snapshots = catalog.snapshots()
    assert snapshots["snapshot"].iloc[0] == catalog.snapshot.id
    assert snapshots["published_utc"].tolist() == [NOON + hours * _HOUR for hours in (2, 1, 0)]
    assert [list(keys) for keys in snapshots["added"]] == [[], ["spa/R2"], ["spa/R1"]]
    assert [len(Catalog(store, one).laps("spa", "R1")) for one in snapshots["snapshot"]] == [3, 2, 2]
    assert len(catalog.snapshots(limit=2)) == 2


def test_two_states_of_a_lake_are_compared(store: LocalStore) -> None:
    catalog = Catalog(store)
    first = Catalog(store, NOON)
    for old in (first, NOON, first.snapshot.id):
        rows = catalog.diff(old, frame="arrow").to_pylist()
        laps = [row for row in rows if row["table"] == "laps"]
        assert [(row["session"], row["change"], row["rows_before"], row["rows_after"]) for row in laps] == [
            ("spa/R1", "changed", 2, 3),
            ("spa/R2", "added", None, laps[1]["rows_after"]),
        ]
    assert catalog.diff(catalog).empty
    assert str(catalog.diff(first)["rows_before"].dtype) == "Int64"


def test_the_laps_of_one_session_in_a_bucket_take_five_requests(s3_bucket: S3Bucket) -> None:
    writer = store_of(connect(s3_bucket))
    for key in (_R1, _R2):
        publish_tables(writer, key, laps=2)
    connection = connect(s3_bucket)
    sent: list[str] = []

    def record(model: Any, params: dict[str, Any], **_: object) -> None:
        sent.append(f"{model.name} {params['url_path'].partition('/')[2].partition('/')[2].rpartition('/')[0]}")

    connection.client.meta.events.register("before-call.s3", record)
    assert len(Catalog(store_of(connection)).laps("spa", "R1")) == 2
    assert [request.partition(" ")[0] for request in sent] == ["GetObject"] * 5


def test_a_refreshed_catalog_reads_only_what_changed(s3_bucket: S3Bucket) -> None:
    store = store_of(connect(s3_bucket))
    for key in (_R1, _R2):
        publish_tables(store, key, laps=2)
    catalog = Catalog(store)
    assert catalog.refreshed() is catalog
    assert len(catalog.laps()) == sum(catalog.rows("laps", *key) for key in (_R1, _R2))
    before = store.request_stats
    catalog.laps()
    assert store.request_stats == before
    publish_tables(store, _R1, "v2", laps=9, now=NOON + _HOUR)
    before = store.request_stats
    newer = catalog.refreshed()
    assert len(newer.laps()) == len(catalog.laps()) + 7
    # Twice pointer and snapshot, the shard, the record and the laps of the session that changed.
    assert store.request_stats.since(before).requests == 7
