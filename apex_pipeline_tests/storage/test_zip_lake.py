"""A bundle is read without unpacking it: stored and compressed files, a folder around it, damage, replacement."""

import zipfile
from pathlib import Path

import pytest

from apex_pipeline.catalog import Catalog, open_catalog
from apex_pipeline.errors import (
    ConfigurationError,
    FileChangedError,
    ObjectMissingError,
    StoreConfigError,
    StoreCorruptionError,
    StorePermissionError,
)
from apex_pipeline.settings import load_settings
from apex_pipeline.storage import read_only, zip_lake
from apex_pipeline.storage.base import ObjectInfo
from apex_pipeline.storage.factory import open_store_at
from apex_pipeline.storage.layout import CURRENT_SNAPSHOT_KEY, object_key
from apex_pipeline.storage.zip_lake import ZipStore
from apex_pipeline_tests.catalog.race_lake import CAR, SESSION, TRACK, local_store, publish_race

_CHANNELS = ["speed_kph", "gear"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("zipped")
    publish_race(local_store(base), 300)
    return base / "lake"


def _pack(folder: Path, target: Path, method: int = zipfile.ZIP_STORED, within: str = "") -> Path:
    with zipfile.ZipFile(target, "w", method) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, f"{within}{path.relative_to(folder).as_posix()}")
    return target


def _tables(catalog: Catalog) -> list[object]:
    samples = catalog.telemetry_arrow(TRACK, SESSION, vehicle_id=CAR, channels=_CHANNELS)
    return [catalog.laps(TRACK, SESSION, frame="arrow"), catalog.list_arrow("sessions"), samples]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("within", ["", "my lake/"])
@pytest.mark.parametrize("whole", [0, read_only.WHOLE_BYTES])
def test_a_zip_reads_like_its_folder(
    folder: Path, tmp_path: Path, method: int, within: str, whole: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_only, "WHOLE_BYTES", whole)
    settings = load_settings(state_dir=tmp_path / "state")
    packed = open_catalog(_pack(folder, tmp_path / "bundle.ZIP", method, within), settings)
    assert _tables(packed) == _tables(open_catalog(folder, settings))
    assert len(packed.snapshots()) == 1
    assert Catalog(ZipStore(tmp_path / "bundle.ZIP", tmp_path), packed.snapshot.id[:8]).snapshot == packed.snapshot


def test_objects_are_listed_and_opened_as_files(folder: Path, tmp_path: Path) -> None:
    store = ZipStore(_pack(folder, tmp_path / "a.zip"), tmp_path / "state")
    keys = [found.key for found in store.list("objects/")]
    assert keys == sorted(path.relative_to(folder).as_posix() for path in (folder / "objects").iterdir())
    with store.open_as_file(keys[0]) as path:
        assert path.read_bytes() == (folder / keys[0]).read_bytes()
    seen: list[ObjectInfo] = []
    with store.open_stream(keys[0], seen.append) as stream:
        assert stream.read() == (folder / keys[0]).read_bytes()
    assert [found.key for found in seen] == keys[:1]
    assert store.read_head(keys[0], 4) == b"PAR1"
    assert store.uri_of(keys[0]) == f"{tmp_path / 'a.zip'}!{keys[0]}"
    assert store.request_stats.requests == 0
    store.check_access()
    with pytest.raises(StoreCorruptionError, match="at most 3 were expected"):
        store.read_with_tag(CURRENT_SNAPSHOT_KEY, 3)


def test_what_is_no_bundle_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ObjectMissingError, match="There is no file"):
        open_catalog(tmp_path / "none.zip")
    (tmp_path / "text.zip").write_text("hello", encoding="utf-8")
    with pytest.raises(StoreCorruptionError, match="is not a zip file, or is cut off"):
        open_catalog(tmp_path / "text.zip")
    whole = _pack(folder, tmp_path / "whole.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreCorruptionError, match="is cut off"):
        open_catalog(tmp_path / "cut.zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(ObjectMissingError, match="contains no lake"):
        open_catalog(tmp_path / "other.zip")
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr(f"a/{CURRENT_SNAPSHOT_KEY}", "{}")
        archive.writestr(f"b/{CURRENT_SNAPSHOT_KEY}", "{}")
    with pytest.raises(ObjectMissingError, match="contains 2 lakes"):
        open_catalog(tmp_path / "two.zip")


def test_names_that_lead_out_of_the_lake_are_not_there(folder: Path, tmp_path: Path) -> None:
    path = _pack(folder, tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../evil.json", "x")
        archive.writestr("/etc/evil.json", "x")
    assert not [found for found in ZipStore(path, tmp_path).list() if "evil" in found.key]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_table_is_found(folder: Path, tmp_path: Path, method: int) -> None:
    path = _pack(folder, tmp_path / "a.zip", method)
    laps = object_key(Catalog(ZipStore(path, tmp_path)).snapshot.sessions[0].tables["laps"].sha256)
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(laps)
    content = bytearray(path.read_bytes())
    place = entry.header_offset + 30 + len(laps) + entry.compress_size // 2
    content[place] ^= 0xFF
    path.write_bytes(content)
    catalog = Catalog(ZipStore(path, tmp_path))
    with pytest.raises(StoreCorruptionError, match="damaged"):
        catalog.laps(TRACK, SESSION)
    assert len(catalog.cars(TRACK, SESSION)) == 21


def test_a_damaged_header_is_found(folder: Path, tmp_path: Path) -> None:
    path = _pack(folder, tmp_path / "a.zip")
    with zipfile.ZipFile(path) as archive:
        place = archive.getinfo(CURRENT_SNAPSHOT_KEY).header_offset
    content = bytearray(path.read_bytes())
    content[place : place + 4] = b"XXXX"
    path.write_bytes(content)
    with pytest.raises(StoreCorruptionError, match="damaged or encrypted"):
        Catalog(ZipStore(path, tmp_path))


def test_a_large_compressed_file_must_be_unpacked(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ZipStore(_pack(folder, tmp_path / "a.zip", zipfile.ZIP_DEFLATED), tmp_path)
    monkeypatch.setattr(zip_lake, "_UNPACKED_BYTES", 10)
    with pytest.raises(StoreConfigError, match="Unpack the zip file"):
        Catalog(store)


def test_a_zip_that_is_replaced_while_it_is_open_is_an_error(folder: Path, tmp_path: Path) -> None:
    path = _pack(folder, tmp_path / "a.zip")
    store = ZipStore(path, tmp_path)
    catalog = Catalog(store)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(FileChangedError, match="was replaced while it was read"):
        catalog.laps(TRACK, SESSION)
    with pytest.raises(FileChangedError, match="was replaced"):
        ZipStore.check_access(catalog._store)  # type: ignore[arg-type]


def test_a_zip_cannot_be_written(folder: Path, tmp_path: Path) -> None:
    path = _pack(folder, tmp_path / "a.zip")
    with pytest.raises(StorePermissionError, match="can only be read"):
        open_store_at(str(path), load_settings()).delete(CURRENT_SNAPSHOT_KEY)
    with pytest.raises(ConfigurationError, match="is not a lake location"):
        open_store_at("https://host/lake", load_settings(), for_writing=True)
