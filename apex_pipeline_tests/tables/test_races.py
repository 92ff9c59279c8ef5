"""Tables of a recorded race: with and without the race they belong to."""

import pytest

from apex_pipeline.storage.keys import UnsafeKeyError
from apex_pipeline.storage.layout import race_table_key
from apex_pipeline.tables import AMS2_TABLES, RACE_LAPS, RACE_TIMING
from apex_pipeline.tables.model import Table
from apex_pipeline.tables.races import with_race_id, without_race_id

_RACE = "0198c0de-0000-4000-8000-000000000001"


@pytest.mark.parametrize("table", AMS2_TABLES, ids=lambda table: table.name)
def test_a_race_is_the_first_part_of_every_key(table: Table) -> None:
    assert table.key[0] == table.sort_by[0] == table.columns[0].name == "race_id"
    assert without_race_id(table).key == table.key[1:]


def test_rows_of_a_recording_become_rows_of_a_race() -> None:
    row: dict[str, object] = {
        "lap_index": 0,
        "session_index": 0,
        "session_type": "race",
        "lap_number": 1,
        "kind": "flying",
        "is_published": True,
        "is_valid": True,
        "samples": 3,
        "flags": [],
    }
    published = with_race_id(RACE_LAPS, without_race_id(RACE_LAPS).from_rows([row]), _RACE)
    assert published.schema == RACE_LAPS.schema
    assert RACE_LAPS.violations(published) == []
    assert published["race_id"].to_pylist() == [_RACE]
    assert with_race_id(RACE_LAPS, without_race_id(RACE_LAPS).empty(), _RACE).num_rows == 0


def test_names_of_people_are_marked_in_the_schema() -> None:
    marked = [field.name for field in RACE_TIMING.schema if (field.metadata or {}).get(b"personal") == b"true"]
    assert marked == ["participant_name"]


def test_a_race_has_a_folder_of_its_own_in_every_table() -> None:
    assert race_table_key("race_laps", _RACE) == f"tables/race_laps/race_id={_RACE}/race_laps.parquet"
    with pytest.raises(UnsafeKeyError):
        race_table_key("race_laps", "../..")
