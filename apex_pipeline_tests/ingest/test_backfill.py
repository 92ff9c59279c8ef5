"""Tests which sessions a backfill chooses: missing, stale, by code version, by name, or all."""

from dataclasses import replace
from pathlib import Path

import pytest

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.ingest.backfill import Group, plan_backfill
from apex_pipeline.lake.records import inputs_version, session_record, write_record
from apex_pipeline.settings import load_settings
from apex_pipeline.sources import rules_version
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import raw_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import finish_session, put_raw_file, renew_roll_ups

_R1, _R2, _R3 = (SessionKey(track, name) for track, name in (("spa", "R1"), ("spa", "R2"), ("sebring", "R1")))
_EVERY = tuple(Group)


@pytest.fixture
def store(store: LocalStore) -> LocalStore:
    """A lake in which spa/R1 is up to date, spa/R2 stale and sebring/R1 missing."""
    for key in (_R1, _R2, _R3):
        write_record(store, session_record(key, [put_raw_file(store, key, f"{key} v1".encode())]))
    for key in (_R1, _R2):
        finish_session(store, key)
    write_record(store, session_record(_R2, [put_raw_file(store, _R2, b"v2")]))
    renew_roll_ups(store, rules_version(load_settings()))
    return store


def _due(store: LocalStore, *groups: Group, names: tuple[str, ...] = ()) -> dict[str, str]:
    return {str(key): reason for key, reason in plan_backfill(store, load_settings(), groups, names).due.items()}


def test_each_group_is_chosen_by_itself(store: LocalStore) -> None:
    assert _due(store, Group.MISSING) == {"sebring/R1": "not published yet"}
    assert _due(store, Group.STALE) == {"spa/R2": "derived from other files"}
    assert _due(store, Group.CODE) == {}
    assert list(_due(store, Group.ALL)) == ["sebring/R1", "spa/R1", "spa/R2"]


def test_all_tells_the_specific_reason_where_there_is_one(store: LocalStore) -> None:
    assert _due(store, *_EVERY) == {
        "sebring/R1": "not published yet",
        "spa/R1": "asked for",
        "spa/R2": "derived from other files",
    }


def test_sessions_of_another_code_version_are_found_whatever_their_files_are(store: LocalStore) -> None:
    record = session_record(_R1, [put_raw_file(store, _R1, b"v1")])
    former = replace(record, inputs_version=inputs_version(record.files, ["the version before"]))
    write_record(store, former)
    finish_session(store, _R1)
    write_record(store, record)
    renew_roll_ups(store, rules_version(load_settings()))
    assert _due(store, Group.CODE) == {"spa/R1": "derived by another code version"}
    assert _due(store, Group.STALE, Group.CODE)["spa/R1"] == "derived from other files"


def test_names_restrict_the_choice_and_are_understood_as_people_write_them(store: LocalStore) -> None:
    assert list(_due(store, Group.ALL, names=("Spa/r1",))) == ["spa/R1"]
    assert list(_due(store, *_EVERY, names=("spa",))) == ["spa/R1", "spa/R2"]
    assert _due(store, Group.MISSING, names=("spa",)) == {}
    with pytest.raises(ConfigurationError, match="no track 'monza'"):
        _due(store, Group.ALL, names=("monza",))


def test_a_session_whose_raw_file_is_gone_is_blocked_with_the_next_step(store: LocalStore) -> None:
    store.delete(raw_key("spa/R2_lap_start.csv"))
    plan = plan_backfill(store, load_settings(), _EVERY)
    assert _R2 not in plan.due
    assert "is recorded and gone from the lake. Put it back" in plan.blocked[_R2]
    assert plan_backfill(store, load_settings(), _EVERY, ("sebring",)).blocked == {}


def test_an_empty_lake_is_an_error_with_the_next_step(tmp_path: Path) -> None:
    empty = LocalStore(tmp_path / "none", DigestCache())
    with pytest.raises(ConfigurationError, match=r"has no session.*apex sync"):
        plan_backfill(empty, load_settings(), _EVERY)
