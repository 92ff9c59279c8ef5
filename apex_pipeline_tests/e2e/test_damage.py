"""Damages one object of a lake after the other, of every kind and in every way.

No wrong value is ever read: a reader gets the right one or an error with a next step. No damaged byte is published, and
one sync heals the lake. See faults/test_damage.py for the same with whole processes.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from apex_pipeline.catalog import Catalog
from apex_pipeline.errors import ApexError
from apex_pipeline.lake.derived import add_derived
from apex_pipeline.lake.forgotten import ForgottenFile, change_forgotten
from apex_pipeline.lake.integrity import verify_lake
from apex_pipeline.lake.published_session import TableRecord
from apex_pipeline.lake.snapshot import Snapshot, read_current
from apex_pipeline.orchestration.command_sync import sync
from apex_pipeline.orchestration.sync import SyncOutcome
from apex_pipeline.settings import Settings
from apex_pipeline.storage import leases
from apex_pipeline.storage.factory import open_store
from apex_pipeline.storage.layout import lease_key, object_key
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.e2e import damage
from apex_pipeline_tests.e2e.conftest import ignore, settings_in
from apex_pipeline_tests.e2e.damage import Damage
from apex_pipeline_tests.e2e.races import HARBOR_R1, HARBOR_R2, MESA_R1, lay_out, make_version
from apex_pipeline_tests.environment import forget_settings
from apex_pipeline_tests.shared_run import SharedRun

pytestmark = pytest.mark.soak

_KEYS = (HARBOR_R1, MESA_R1)
_R1 = f"{HARBOR_R1}"
_STANDINGS = "standings/GR Cup points.csv"
_EMPTY = "harbor_street_circuit/R1_harbor_telemetry_data.csv"
_RAW = "harbor_street_circuit/R1_harbor_lap_end.csv"
_FORGOTTEN = "harbor_street_circuit/R9_harbor_lap_end.csv"


# Digest of each table, by session and name.
Tables = Mapping[SessionKey, Mapping[str, str]]


@dataclass(frozen=True)
class _Lake:
    """A lake that is not damaged yet, and what it says.

    Attributes:
        folder: Contains ``lake`` and ``source``.
        settings: Its settings.
        tables: Digest of each published table, by session and name.
        earlier: The same of the publication before.
        catalog: The tables of all sessions, by name.
    """

    folder: Path
    settings: Settings
    tables: Tables
    earlier: Tables
    catalog: Mapping[str, str]


def _settings(folder: Path) -> Settings:
    return settings_in(folder, folder / "source")


def _snapshot(settings: Settings) -> Snapshot:
    snapshot = read_current(open_store(settings, for_writing=False))
    assert snapshot is not None
    return snapshot


def _tables(settings: Settings) -> Tables:
    sessions = _snapshot(settings).sessions
    return {one.key: {name: table.sha256 for name, table in one.tables.items()} for one in sessions}


def _build(folder: Path) -> tuple[Tables, Tables, dict[str, str]]:
    """Sync two versions of two sessions, with an empty file and one without a session; leave a lease behind."""
    with pytest.MonkeyPatch.context() as patch:
        forget_settings(patch)
        weekends = {version: make_version(folder / "weekends", version) for version in (1, 2)}
        settings = _settings(folder)
        earlier: Tables = {}
        for version in (2, 1):
            shutil.rmtree(folder / "source", ignore_errors=True)
            source = lay_out(folder / "source", dict.fromkeys(_KEYS, weekends[version]))
            (source / _EMPTY).write_bytes(b"")
            (source / _STANDINGS).parent.mkdir()
            (source / _STANDINGS).write_text("PARTICIPANT;POINTS\n13;250\n7;180\n")
            assert sync(settings, ignore).exit_code == 0
            earlier = earlier or _tables(settings)
        store = open_store(settings, for_writing=True)
        change_forgotten(store, [(_FORGOTTEN, ForgottenFile("0" * 64, datetime(2026, 11, 21, tzinfo=UTC)))])
        assert sync(settings, ignore).is_unchanged
        return _tables(settings), earlier, _catalog_tables(settings)


@pytest.fixture(scope="session")
def healthy(shared_run: SharedRun) -> _Lake:
    folder, found = shared_run.once("damage", _build)
    return _Lake(folder, _settings(folder), *found)


@pytest.fixture
def lake(healthy: _Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Lake:
    """A copy of the lake. Its objects are hard links, so damage must replace them and never write in place."""
    # A damaged lease lasts as long as an intact one.
    monkeypatch.setattr(leases, "LIFETIME_S", 2.0)
    for name in ("source", ".dagster"):
        shutil.copytree(healthy.folder / name, tmp_path / name)
    shutil.copytree(healthy.folder / "lake", tmp_path / "lake", copy_function=os.link)
    return replace(healthy, folder=tmp_path, settings=_settings(tmp_path))


# -- what is damaged ---------------------------------------------------------------------------------------------------


def _document_of(settings: Settings, part: str) -> str:
    """Return the key of a part of the published snapshot."""
    snapshot = _snapshot(settings)
    entry = snapshot.entry(HARBOR_R1)
    assert entry is not None
    return {
        "snapshot": f"catalog/snapshots/{snapshot.id}.json",
        "shard": f"catalog/snapshots/shards/{snapshot.shards[0]}.json",
        "published session": f"catalog/snapshots/sessions/{entry.record}.json",
    }[part]


def _table_of(settings: Settings, name: str) -> TableRecord:
    session = _snapshot(settings).session(HARBOR_R1)
    assert session is not None
    return session.tables[name]


_TABLES = ("laps", "cars", "official_laps", "quality", "telemetry", "lap_rejects")
_FIXED = {
    "pointer": "catalog/current.json",
    "record": f"catalog/records/{_R1}.json",
    "unassigned record": "catalog/records/unassigned.json",
    "derived list": f"catalog/derived/{_R1}.json",
    "forgotten files": "catalog/forgotten.json",
    "files": "catalog/files.parquet",
    "tracks": "catalog/tracks.parquet",
    "sessions": "catalog/sessions.parquet",
    "lease": lease_key(_R1),
    "quarantine reason": f"quarantine/{_EMPTY}.reason.json",
    "raw file": f"data/{_RAW}",
    "raw file without a session": f"data/{_STANDINGS}",
}


def _key_of(settings: Settings, kind: str) -> str:
    what, _, name = kind.partition(" of ")
    if name:
        table = _table_of(settings, name)
        return object_key(table.sha256) if what == "object" else table.key
    return _FIXED.get(kind) or _document_of(settings, kind)


def _damage_object(lake: _Lake, kind: str, how: Damage) -> None:
    path = lake.settings.lake_dir / _key_of(lake.settings, kind)
    content = path.read_bytes() if path.exists() else b"{}"
    path.unlink(missing_ok=True)
    damaged = how(content)
    if damaged is not None:
        assert damaged != content
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(damaged)


# -- what is read ------------------------------------------------------------------------------------------------------


# Columns that both versions of a session have in common.
_COLUMNS = {
    "files": ["path", "kind", "source", "track", "track_name", "session", "status"],
    "sessions": ["track", "session", "session_type", "files", "quarantined_files"],
    "tracks": ["track", "track_name", "sessions", "files"],
}


def _catalog_rows(catalog: Catalog, name: str) -> str:
    rows = getattr(catalog, name)()[_COLUMNS[name]]
    return rows.sort_values(_COLUMNS[name][:2]).to_csv(index=False)


def _catalog_tables(settings: Settings) -> dict[str, str]:
    catalog = Catalog(open_store(settings, for_writing=False))
    return {name: _catalog_rows(catalog, name) for name in _COLUMNS}


def _read(lake: _Lake) -> Iterator[str]:
    """Yield a problem for every wrong value that a reader gets; an error with a next step is none."""
    try:
        catalog = Catalog(open_store(lake.settings, for_writing=False))
        keys = catalog.snapshot.keys
    except ApexError:
        return
    for key in keys:
        for name in lake.tables[key].keys() | lake.earlier[key].keys():
            yield from _read_table(lake, catalog, key, name)
    for name, expected in lake.catalog.items():
        with suppress(ApexError):
            found = _catalog_rows(catalog, name)
            if found != expected:
                yield f"{name}: {found} instead of {expected}"


def _read_table(lake: _Lake, catalog: Catalog, key: SessionKey, name: str) -> Iterator[str]:
    try:
        session = catalog.snapshot.session(key)
        assert session is not None
        record, rows = session.tables[name], catalog.table_arrow(name, *key)
    except ApexError:
        return
    if record.sha256 not in {lake.tables[key][name], lake.earlier[key][name]}:
        yield f"{key} {name} is published with other content"
    if rows.num_rows != record.rows:
        yield f"{key} {name} has {rows.num_rows} rows instead of {record.rows}"


def _sync_and_check(lake: _Lake, *, exit_code: int = 0) -> SyncOutcome:
    """Sync once; everything that is published must be what a clean sync makes, and intact to the last byte."""
    outcome = sync(lake.settings, ignore)
    assert outcome.exit_code == exit_code, outcome.failures
    assert list(_read(lake)) == []
    found = _tables(lake.settings)
    assert {key: found[key] for key in _KEYS} == lake.tables
    report = verify_lake(open_store(lake.settings, for_writing=False), is_deep=True)
    assert [str(finding) for finding in report.wrong] == []
    return outcome


def _cases() -> Iterator[tuple[str, Damage]]:
    for kind in ("pointer", "snapshot", "shard", "published session", "record", "unassigned record", "derived list"):
        yield from ((kind, how) for how in damage.JSON)
    for kind in ("lease", "quarantine reason"):
        yield from ((kind, how) for how in (*damage.WHOLE, damage.deeply_nested, damage.wrong_types))
    for kind in ("files", "tracks", "sessions"):
        yield from ((kind, how) for how in damage.WHOLE)
    for name in _TABLES:
        yield from ((f"object of {name}", how) for how in damage.WHOLE)
    for name in ("laps", "telemetry", "quality"):
        yield from ((f"stable name of {name}", how) for how in damage.WHOLE)
    for kind in ("raw file", "raw file without a session"):
        yield from ((kind, how) for how in damage.WHOLE)
    yield "record", damage.flipped_in(b'"sha256": "1')
    yield "record", damage.flipped_in(b'"kind": "lap_start')
    yield "record", damage.flipped_in(b'"status": "ready')
    yield "record", damage.flipped_in(b'"inputs_version": "1')
    yield "record", damage.other_text(b'"kind": "lap_start"', b'"kind": "lap_end"')
    yield "record", damage.other_text(b'"session": "R1"', b'"session": "R2"')
    yield "record", damage.other_text(b"harbor_street_circuit/R1", b"harbor_street_circuit/R2")
    yield "pointer", damage.other_text(b"20", b"30")


_NO_EFFECT = {("derived list", "missing"), ("lease", "missing")}
_CASES = [(kind, how) for kind, how in _cases() if (kind, how.__name__) not in _NO_EFFECT]
# The others take a minute.
_QUICK = {
    ("pointer", "truncated"),
    ("shard", "flipped"),
    ("record", "garbage"),
    ("object of laps", "flipped"),
    ("files", "flipped"),
}


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        pytest.param(
            kind,
            how,
            id=f"{kind}, {how.__name__.replace('_', ' ')}",
            marks=() if (kind, how.__name__) in _QUICK else pytest.mark.soak,
        )
        for kind, how in _CASES
    ],
)
def test_no_wrong_value_is_read_and_one_sync_heals(lake: _Lake, kind: str, how: Damage) -> None:
    _damage_object(lake, kind, how)
    assert list(_read(lake)) == []
    _sync_and_check(lake)
    assert sync(lake.settings, ignore).is_unchanged


def _swap(lake: _Lake, kind: str, other: bytes) -> None:
    _damage_object(lake, kind, lambda _: other)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["object of laps", "stable name of laps", "object of quality"])
@pytest.mark.parametrize("other", ["object of cars", "object of laps"])
def test_content_of_another_table_or_of_the_version_before_is_noticed(lake: _Lake, kind: str, other: str) -> None:
    digest = lake.earlier[HARBOR_R1][other.removeprefix("object of ")]
    _swap(lake, kind, (lake.settings.lake_dir / object_key(digest)).read_bytes())
    assert list(_read(lake)) == []
    _sync_and_check(lake)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["files", "tracks", "sessions", "pointer", "record", "published session"])
def test_content_of_another_object_of_the_same_kind_is_noticed(lake: _Lake, kind: str) -> None:
    others = {
        "files": "catalog/sessions.parquet",
        "tracks": "catalog/files.parquet",
        "sessions": "catalog/tracks.parquet",
        "pointer": "catalog/forgotten.json",
        "record": f"catalog/records/{MESA_R1}.json",
        "published session": "catalog/records/unassigned.json",
    }
    _swap(lake, kind, (lake.settings.lake_dir / others[kind]).read_bytes())
    assert list(_read(lake)) == []
    _sync_and_check(lake)


@pytest.mark.soak
def test_a_pointer_to_the_snapshot_before_is_followed_and_brought_up_to_date(lake: _Lake) -> None:
    parent = _snapshot(lake.settings).parent
    _swap(lake, "pointer", json.dumps({"snapshot": parent}).encode())
    assert list(_read(lake)) == []
    _sync_and_check(lake)


@pytest.mark.soak
def test_a_list_of_derived_tables_that_names_other_tables_is_not_published(lake: _Lake) -> None:
    store = open_store(lake.settings, for_writing=True)
    snapshot = _snapshot(lake.settings)
    mine, other = snapshot.session(HARBOR_R1), snapshot.session(MESA_R1)
    assert mine is not None
    assert other is not None
    add_derived(store, HARBOR_R1, mine.inputs_version, {**other.tables, "rounds": other.tables["laps"]})
    _sync_and_check(lake)


@pytest.mark.soak
@pytest.mark.parametrize("both", ["laps", "quality"])
@pytest.mark.parametrize("how", [damage.missing, damage.flipped])
def test_a_table_damaged_in_both_places_is_derived_again(lake: _Lake, both: str, how: Damage) -> None:
    for kind in (f"object of {both}", f"stable name of {both}"):
        _damage_object(lake, kind, how)
    assert list(_read(lake)) == []
    assert _sync_and_check(lake).derived == [HARBOR_R1]


@pytest.mark.soak
@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("object of laps", damage.flipped),
        ("stable name of laps", damage.truncated),
        ("shard", damage.missing),
        ("snapshot", damage.garbage),
        ("record", damage.flipped),
        ("raw file", damage.flipped),
        ("files", damage.truncated),
    ],
)
def test_damage_is_not_published_while_another_session_is_added(
    lake: _Lake, healthy: _Lake, kind: str, how: Damage
) -> None:
    lay_out(lake.folder / "source", {HARBOR_R2: healthy.folder / "weekends" / "version-1"})
    _damage_object(lake, kind, how)
    assert list(_read(lake)) == []
    assert HARBOR_R2 in _sync_and_check(lake).derived


@pytest.mark.soak
@pytest.mark.parametrize("how", damage.JSON)
def test_a_damaged_list_of_forgotten_files_stops_the_sync_with_a_next_step(lake: _Lake, how: Damage) -> None:
    _damage_object(lake, "forgotten files", how)
    assert list(_read(lake)) == []
    if how is damage.missing:
        _sync_and_check(lake)
        return
    with pytest.raises(ApexError, match=r"forgotten\.json"):
        sync(lake.settings, ignore)
    assert list(_read(lake)) == []


@pytest.mark.soak
@pytest.mark.parametrize("how", damage.WHOLE)
def test_a_damaged_raw_file_that_the_source_does_not_have_is_named_and_nothing_derived_from_it(
    lake: _Lake, how: Damage
) -> None:
    (lake.folder / "source" / _RAW).unlink()
    assert sync(lake.settings, ignore).exit_code == 0
    before = _tables(lake.settings)
    assert before == lake.tables
    _damage_object(lake, "raw file", how)
    outcome = sync(lake.settings, ignore)
    assert _tables(lake.settings) == before
    assert outcome.exit_code == 1
    assert any(Path(_RAW).name in failure.problem for failure in outcome.failures)
