"""The list of derived tables says what is in it, and a table that failed a check keeps its session unpublished."""

import pytest

from apex_pipeline.errors import PermanentError
from apex_pipeline.lake.derived import add_derived, add_failed, clear_derived, derived_list, read_derived
from apex_pipeline.lake.publication import publish_session
from apex_pipeline.lake.records import require_record
from apex_pipeline.lake.tables import require_session, require_snapshot
from apex_pipeline.storage.layout import derived_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import NOON, derive_tables, publish_tables

_R1 = SessionKey("spa", "R1")


def test_tables_are_added_and_replaced_by_name(store: LocalStore) -> None:
    derive_tables(store, _R1, laps=1, only=["laps"])
    derive_tables(store, _R1, laps=2, only=["laps", "cars"])
    found = read_derived(store, _R1, "v1")
    assert sorted(found) == ["cars", "laps"]
    assert found["laps"].rows == 2


def test_tables_of_other_files_are_dropped(store: LocalStore) -> None:
    derive_tables(store, _R1, "v1", only=["laps", "cars"])
    derive_tables(store, _R1, "v2", only=["laps"])
    assert read_derived(store, _R1, "v1") == {}
    assert list(read_derived(store, _R1, "v2")) == ["laps"]


def test_a_damaged_list_counts_as_empty(store: LocalStore) -> None:
    derive_tables(store, _R1, only=["laps"])
    store.write_bytes(derived_key(str(_R1)), b"{")
    assert read_derived(store, _R1, "v1") == {}


def test_a_failed_table_and_the_others_of_its_step_leave_the_list(store: LocalStore) -> None:
    derive_tables(store, _R1, only=["laps", "cars", "weather"])
    add_failed(store, _R1, "v1", ["laps", "cars"], {"laps": ["laps_do_not_overlap"]})
    found = derived_list(store, _R1, "v1")
    assert list(found.tables) == ["weather"]
    assert found.failed == {"laps": ("laps_do_not_overlap",)}


def test_a_session_with_a_failed_table_is_not_published_until_it_is_derived_again(store: LocalStore) -> None:
    publish_tables(store, _R1)
    before = require_session(require_snapshot(store), _R1)
    record = derive_tables(store, _R1, laps=3)
    derived = read_derived(store, _R1, "v1")
    add_failed(store, _R1, "v1", ["cars"], {"cars": ["matches_schema", "has_rows"]})
    with pytest.raises(PermanentError, match="cars failed matches_schema and has_rows") as failed:
        publish_session(store, record, NOON)
    assert failed.value.hint.startswith("Materialize tables/cars of the partition spa/R1 again")
    assert require_session(require_snapshot(store), _R1) == before
    add_derived(store, _R1, "v1", {"cars": derived["cars"]})
    publish_session(store, record, NOON)
    assert require_session(require_snapshot(store), _R1).tables["laps"].rows == 3


def test_a_failure_with_former_files_does_not_count(store: LocalStore) -> None:
    add_failed(store, _R1, "v0", [], {"laps": ["matches_schema"]})
    derive_tables(store, _R1, "v1")
    publish_session(store, require_record(store, _R1), NOON)
    assert require_snapshot(store).keys == (_R1,)


def test_a_cleared_list_is_gone(store: LocalStore) -> None:
    derive_tables(store, _R1)
    clear_derived(store, _R1)
    assert store.head(derived_key(str(_R1))) is None
