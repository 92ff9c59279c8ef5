"""Syncs a source registered from outside the package together with a built-in one, and verifies the lake."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apex_pipeline import sources
from apex_pipeline.catalog import open_catalog
from apex_pipeline.cli.load_check import load_sessions
from apex_pipeline.demo import GroundTruth
from apex_pipeline.export.bundle import select_sessions, write_bundle
from apex_pipeline.lake.integrity import verify_lake
from apex_pipeline.lake.retention import Retention, find_expired, remove_expired
from apex_pipeline.orchestration.command_sync import sync
from apex_pipeline.settings import Settings
from apex_pipeline.sources.base import DerivedTable, FileIdentity, FileOpener
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.storage.factory import open_store
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.e2e.conftest import ignore, settings_in
from apex_pipeline_tests.sources.toy import PIT_STOPS, PitStops

_TOY = SessionKey("spa", "R1")
_RACE = SessionKey("harbor_street_circuit", "R1")
_CSV = "car,lap,stop_s\n7,3,31.5\n13,4,28.25\n"


class StagedPitStops(PitStops):
    """The same source, with a staged file and an optional table that this session does not have."""

    derivation_version = "staged"
    optional_tables = (replace(PIT_STOPS, name="pit_penalties"),)

    def derive(
        self,
        key: SessionKey,
        files: Sequence[FileIdentity],
        open_file: FileOpener,
        workspace: Workspace,
        rules: None,
    ) -> Iterator[DerivedTable]:
        for derived in super().derive(key, files, open_file, workspace, rules):
            assert not isinstance(derived.content, Path)
            staged = workspace.scratch / "pit_stops.parquet"
            pq.write_table(derived.content.replace_schema_metadata(dict(workspace.file_metadata)), staged)
            yield DerivedTable(derived.table, staged)


@pytest.fixture(autouse=True)
def toy_source(monkeypatch: pytest.MonkeyPatch) -> PitStops:
    monkeypatch.setattr(sources, "_registered", [])
    source = PitStops()
    sources.register(source)
    return source


@pytest.fixture(scope="module")
def synced(weekend: tuple[Path, GroundTruth], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("two_sources")
    source = folder / "source"
    for file in weekend[0].rglob("*R1*lap*"):
        if "harbor" in str(file).lower():
            copy = source / file.relative_to(weekend[0])
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
    _write_stops(source, _CSV)
    settings = settings_in(folder, source)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "_registered", [PitStops()])
        outcome = sync(settings, ignore)
    assert (outcome.exit_code, sorted(outcome.derived)) == (0, [_RACE, _TOY])
    return settings


@pytest.fixture
def settings(synced: Settings, tmp_path: Path) -> Settings:
    """Return the settings of a lake with two sources, copied so that a test may change it."""
    shutil.copytree(synced.source_dir.parent, tmp_path / "copy")
    return settings_in(tmp_path / "copy", tmp_path / "copy" / "source")


def _write_stops(source: Path, content: str) -> None:
    file = source / "spa" / "R1" / "pit_stops.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, encoding="utf-8")


def test_the_table_of_a_registered_source_is_published_and_readable(settings: Settings) -> None:
    catalog = open_catalog(settings=settings)
    stops = catalog.table("pit_stops", *_TOY)
    assert stops[["car_number", "lap_number", "stop_s"]].to_numpy().tolist() == [["7", 3, 31.5], ["13", 4, 28.25]]
    assert len(pd.read_parquet(settings.lake_dir / "tables" / "pit_stops")) == 2


def test_the_files_table_names_the_source_of_each_file(settings: Settings) -> None:
    files = open_catalog(settings=settings).files()
    assert dict(zip(files["kind"], files["source"], strict=True)) == {
        "lap_start": "gr_cup",
        "lap_end": "gr_cup",
        "lap_time": "gr_cup",
        "pit_stops": "pit_stops",
    }


def test_a_session_has_only_the_tables_of_its_source(settings: Settings) -> None:
    snapshot = open_catalog(settings=settings).snapshot
    toy_record, race_record = snapshot.session(_TOY), snapshot.session(_RACE)
    assert toy_record is not None
    assert race_record is not None
    assert set(toy_record.tables) == {PIT_STOPS.name}
    assert "laps" in race_record.tables
    assert PIT_STOPS.name not in race_record.tables


def test_a_session_that_two_sources_read_has_the_tables_of_both(settings: Settings) -> None:
    file = settings.source_dir / "harbor_street_circuit" / "R1" / "pit_stops.csv"
    file.parent.mkdir(parents=True)
    file.write_text(_CSV, encoding="utf-8")
    assert sync(settings, ignore).derived == [_RACE]
    catalog = open_catalog(settings=settings)
    assert len(catalog.table("pit_stops", *_RACE)) == 2
    assert len(catalog.laps(*_RACE)) > 0
    assert sync(settings, ignore).is_unchanged


def test_a_key_that_no_lake_can_hold_is_refused_by_name(settings: Settings) -> None:
    file = settings.source_dir / "Spa Francorchamps" / "R 1" / "pit_stops.csv"
    file.parent.mkdir(parents=True)
    file.write_text(_CSV, encoding="utf-8")
    assert sync(settings, ignore).derived == []
    files = open_catalog(settings=settings).files().to_dict("records")
    (refused,) = [row for row in files if row["path"] == "Spa Francorchamps/R 1/pit_stops.csv"]
    assert refused["status"] == "unresolved"
    assert "Spa Francorchamps" in refused["reason"]


def test_a_staged_file_is_published_and_an_optional_table_may_be_missing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_registered", [StagedPitStops()])
    assert sync(settings, ignore).derived == [_TOY]
    record = open_catalog(settings=settings).snapshot.session(_TOY)
    assert record is not None
    assert set(record.tables) == {PIT_STOPS.name}
    assert len(open_catalog(settings=settings).table("pit_stops", *_TOY)) == 2
    assert not list(settings.state_dir.rglob("*.parquet"))


def test_a_required_table_that_is_not_derived_fails_the_session_and_keeps_what_was_published(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PitStops, "derivation_version", "2")
    monkeypatch.setattr(PitStops, "derive", lambda *_: iter(()))
    outcome = sync(settings, ignore)
    assert [(failure.stage, failure.session) for failure in outcome.failures] == [("derive", str(_TOY))]
    assert len(open_catalog(settings=settings).table("pit_stops", *_TOY)) == 2


def test_a_second_sync_does_nothing(synced: Settings) -> None:
    assert sync(synced, ignore).is_unchanged


def test_a_changed_file_rederives_only_its_session(settings: Settings) -> None:
    _write_stops(settings.source_dir, _CSV + "13,9,30\n")
    assert sync(settings, ignore).derived == [_TOY]
    assert len(open_catalog(settings=settings).table("pit_stops", *_TOY)) == 3


def test_raising_a_derivation_version_rederives_only_the_sessions_of_that_source(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PitStops, "derivation_version", "2")
    assert sync(settings, ignore).derived == [_TOY]
    assert sync(settings, ignore).is_unchanged


def test_an_unreadable_file_of_one_source_does_not_affect_the_other(settings: Settings) -> None:
    _write_stops(settings.source_dir, "car,lap,stop_s\n7,third,31.5\n")
    outcome = sync(settings, ignore)
    assert [(failure.stage, failure.session) for failure in outcome.failures] == [("derive", str(_TOY))]
    assert len(open_catalog(settings=settings).table("pit_stops", *_TOY)) == 2


def test_verify_covers_the_tables_of_a_registered_source(settings: Settings) -> None:
    store = open_store(settings, for_writing=False)
    report = verify_lake(store, is_deep=True)
    assert report.wrong == ()
    assert any(finding.kind == "table" and finding.session == f"{_TOY[0]}/{_TOY[1]}" for finding in report.findings)
    assert all(row.is_good for row in load_sessions(open_catalog(settings=settings), report.findings))


def test_gc_removes_replaced_tables_of_a_registered_source(settings: Settings) -> None:
    _write_stops(settings.source_dir, _CSV + "13,9,30\n")
    sync(settings, ignore)
    store = open_store(settings, for_writing=True)
    later = datetime.now(UTC) + timedelta(days=365)
    retention = Retention(timedelta(0), timedelta(days=1))
    removed = remove_expired(store, find_expired(store, retention, later), retention, later)
    assert removed.bytes > 0
    assert verify_lake(store, is_deep=True).wrong == ()
    assert len(open_catalog(settings=settings).table("pit_stops", *_TOY)) == 3


def test_a_bundle_with_a_registered_source_is_a_readable_lake(settings: Settings, tmp_path: Path) -> None:
    store = open_store(settings, for_writing=False)
    snapshot = open_catalog(settings=settings).snapshot
    selection = select_sessions(snapshot, tracks=["spa"], tables=["pit_stops"], has_raw_files=True)
    write_bundle(store, snapshot, selection, tmp_path / "bundle")
    assert open_catalog(tmp_path / "bundle").snapshot.keys == (_TOY,)
    assert len(open_catalog(tmp_path / "bundle").table("pit_stops", *_TOY)) == 2


def test_sessions_of_a_source_that_is_not_installed_stay_published_and_are_verified(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_registered", [])
    assert sync(settings, ignore).exit_code == 0
    catalog = open_catalog(settings=settings)
    assert [record.key for record in catalog.snapshot.sessions] == [_RACE, _TOY]
    assert len(catalog.table("pit_stops", *_TOY)) == 2
    assert verify_lake(open_store(settings, for_writing=False), is_deep=True).wrong == ()
    assert sync(settings, ignore).is_unchanged


def test_a_catalog_without_the_column_source_is_rebuilt_and_nothing_is_derived(settings: Settings) -> None:
    sync(settings, ignore)
    file = settings.lake_dir / "catalog" / "files.parquet"
    content = pq.ParquetFile(file).read().drop_columns(["source"]).replace_schema_metadata(None)
    open_store(settings, for_writing=True).write_bytes("catalog/files.parquet", _parquet(content))
    outcome = sync(settings, ignore)
    assert (outcome.exit_code, outcome.derived, outcome.copied) == (0, [], 0)
    assert "source" in pq.read_schema(file).names
    assert sync(settings, ignore).is_unchanged


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()
