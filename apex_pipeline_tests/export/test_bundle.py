"""A bundle is a lake: readable like any other, verified to the last byte, and reproducible."""

import os
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from apex_pipeline.catalog import open_catalog
from apex_pipeline.errors import ConfigurationError, ObjectMissingError, StoreCorruptionError
from apex_pipeline.export import bundle as bundling
from apex_pipeline.export.bundle import Selection, bundle_bytes, select_sessions, write_bundle
from apex_pipeline.lake.integrity import LakeReport, verify_lake
from apex_pipeline.lake.publication import Change, publish
from apex_pipeline.lake.tables import require_snapshot
from apex_pipeline.progress import progress_to
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import object_key, raw_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables import RACE_TABLES
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.conftest import open_lake
from apex_pipeline_tests.lake.derived import publish_folder
from apex_pipeline_tests.servers.seaweed import S3Bucket
from apex_pipeline_tests.storage.s3.harness import connect, store_of

pytestmark = pytest.mark.req("A-118")

_HARBOR, _MESA = "harbor_street_circuit", "mesa_verde_raceway"
_R1 = SessionKey(_HARBOR, "R1")
_ALL_TABLES = tuple(table.name for table in RACE_TABLES)


def _select(store: ObjectStore, **chosen: object) -> Selection:
    return select_sessions(require_snapshot(store), **chosen)  # type: ignore[arg-type]  # its keyword arguments


def test_a_bundle_reads_like_its_lake(lake: LocalStore, tmp_path: Path) -> None:
    bundle = write_bundle(lake, require_snapshot(lake), _select(lake, tracks=[_HARBOR]), tmp_path / "part")
    copied, original = open_catalog(tmp_path / "part"), open_catalog(lake.uri)
    assert [str(record.key) for record in copied.snapshot.sessions] == [f"{_HARBOR}/R1", f"{_HARBOR}/R2"]
    assert list(copied.tracks()["track"]) == [_HARBOR]
    assert len(copied.sessions()) == 2
    for name in _ALL_TABLES:
        assert copied.table_arrow(name, _HARBOR, "R2").equals(original.table_arrow(name, _HARBOR, "R2"))
    expected = original.files()[original.files()["track"] == _HARBOR]
    assert list(copied.files()["path"]) == list(expected["path"])
    assert (bundle.snapshot, bundle.sessions) == (copied.snapshot.id, copied.snapshot.sessions)
    assert bundle.bytes == sum(path.stat().st_size for path in (tmp_path / "part").rglob("*") if path.is_file())
    assert not (tmp_path / "part" / ".incoming").exists()


@pytest.mark.parametrize("has_raw_files", [False, True])
def test_a_bundle_has_no_orphaned_or_damaged_object(lake: LocalStore, tmp_path: Path, *, has_raw_files: bool) -> None:
    part = _select(lake, tracks=[_MESA], sessions=["R2"], has_raw_files=has_raw_files)
    write_bundle(lake, require_snapshot(lake), part, tmp_path / "part")
    store = open_lake(tmp_path / "part")
    report = verify_lake(store, is_deep=True)
    assert (report.wrong, report.notes) == ((), ())
    raw = {item.key: store.read_bytes(item.key) for item in store.list("data/")}
    assert bool(raw) == has_raw_files
    assert raw == {key: lake.read_bytes(key) for key in raw}
    kinds = {finding.kind for finding in report.findings}
    assert ("raw file" in kinds) == has_raw_files


def test_quarantined_raw_files_are_bundled_with_their_reasons(lake: LocalStore, tmp_path: Path) -> None:
    part = _select(lake, tracks=[_MESA], has_raw_files=True)
    write_bundle(lake, require_snapshot(lake), part, tmp_path / "part")
    (reason,) = (tmp_path / "part" / "quarantine").rglob("*.json")
    assert reason.name == "mesa_lap_time_R2.csv.reason.json"


def test_only_selected_tables_are_bundled(lake: LocalStore, tmp_path: Path) -> None:
    write_bundle(lake, require_snapshot(lake), _select(lake, tables=["cars", "laps"]), tmp_path / "part")
    catalog = open_catalog(tmp_path / "part")
    assert len(catalog.laps(_HARBOR, "R1")) == len(open_catalog(lake.uri).laps(_HARBOR, "R1"))
    with pytest.raises(ObjectMissingError, match="without the table telemetry"):
        catalog.telemetry(_HARBOR, "R1")
    assert {path.parent.parent.parent.name for path in (tmp_path / "part").rglob("session=*/*")} == {"cars", "laps"}
    sessions = catalog.snapshot.sessions
    assert len(list((tmp_path / "part" / "objects").iterdir())) == len(
        {table.sha256 for session in sessions for table in session.tables.values()}
    )


def test_bundling_the_same_content_twice_gives_identical_zips(lake: LocalStore, tmp_path: Path) -> None:
    part = _select(lake, tracks=[_HARBOR], has_raw_files=True)
    bundle = write_bundle(lake, require_snapshot(lake), part, tmp_path / "one.zip")
    for item in lake.list("data/"):  # as in another copy of the lake, times and inodes differ
        content = lake.read_bytes(item.key)
        lake.write_bytes(item.key, content)
        os.utime(Path(lake.uri, item.key), (1_000_000_000, 1_000_000_000))
    write_bundle(lake, require_snapshot(lake), part, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert bundle.bytes == (tmp_path / "one.zip").stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lake", "one.zip", "two.zip"]


def test_an_extracted_zip_equals_the_folder_bundle(lake: LocalStore, tmp_path: Path) -> None:
    part = _select(lake, tracks=[_HARBOR], sessions=["R1"], has_raw_files=True)
    write_bundle(lake, require_snapshot(lake), part, tmp_path / "part.zip")
    write_bundle(lake, require_snapshot(lake), part, tmp_path / "part")
    with zipfile.ZipFile(tmp_path / "part.zip") as archive:
        names = archive.namelist()
        assert names == sorted(names)
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        archive.extractall(tmp_path / "extracted")
    for path in (path for path in (tmp_path / "part").rglob("*") if path.is_file()):
        name = path.relative_to(tmp_path / "part")
        assert (tmp_path / "extracted" / name).read_bytes() == path.read_bytes()
        names.remove(name.as_posix())
    assert names == []
    assert len(open_catalog(tmp_path / "extracted").laps(_HARBOR, "R1")) == 48


def test_the_published_table_is_bundled_whatever_is_at_its_stable_name(lake: LocalStore, tmp_path: Path) -> None:
    snapshot = require_snapshot(lake)
    published = next(record for record in snapshot.sessions if record.key == _R1).tables["laps"]
    before = lake.read_bytes(published.key)
    lake.write_bytes(published.key, b"from another program")
    write_bundle(lake, snapshot, _select(lake, tracks=[_HARBOR]), tmp_path / "part")
    assert (tmp_path / "part" / published.key).read_bytes() == before


@pytest.mark.parametrize("kind", ["table", "raw file"])
def test_a_damaged_object_stops_the_bundle(lake: LocalStore, tmp_path: Path, kind: str) -> None:
    assert verify_lake(lake).wrong == ()  # all digests are cached now
    laps = require_snapshot(lake).sessions[0].tables["laps"]
    lake.delete(laps.key)
    key = raw_key(f"{_HARBOR}/R1_harbor_lap_end.csv") if kind == "raw file" else object_key(laps.sha256)
    path = Path(lake.uri, key)
    status = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    part = _select(lake, tracks=[_HARBOR], has_raw_files=True)
    with pytest.raises((StoreCorruptionError, ObjectMissingError), match=r"was published|is missing or damaged"):
        write_bundle(lake, require_snapshot(lake), part, tmp_path / "part")
    assert not (tmp_path / "part").exists()


def test_a_bundle_that_fails_verification_is_discarded(
    lake: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damage(store: LocalStore, *, is_deep: bool) -> LakeReport:
        (Path(store.uri) / "catalog" / "tracks.parquet").write_bytes(b"x")
        return verify_lake(store, is_deep=is_deep)

    monkeypatch.setattr(bundling, "verify_lake", damage)
    with pytest.raises(StoreCorruptionError, match=r"The bundle is damaged: catalog/tracks\.parquet"):
        write_bundle(lake, require_snapshot(lake), _select(lake), tmp_path / "part")
    assert not (tmp_path / "part").exists()


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"tracks": ["spa"]}, r"has no track spa\. It has: harbor_street_circuit, mesa_verde_raceway"),
        ({"sessions": ["R9"]}, r"has no session R9\. It has: R1, R2"),
        ({"tables": ["lap"]}, r"has no table lap\. It has: cars"),
    ],
)
def test_unknown_names_are_reported_with_the_known_ones(
    lake: LocalStore, chosen: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        _select(lake, **chosen)


def test_a_session_that_the_selected_track_lacks_is_an_error(lake: LocalStore) -> None:
    without_last = publish(lake, {SessionKey(_MESA, "R2"): Change(None)}, datetime.now(UTC))
    with pytest.raises(ConfigurationError, match=r"No session is published for R2 at mesa_verde_raceway\."):
        select_sessions(without_last, tracks=[_MESA], sessions=["R2"])


def test_a_target_in_the_lake_is_refused(lake: LocalStore) -> None:
    with pytest.raises(ConfigurationError, match="one contains the other"):
        write_bundle(lake, require_snapshot(lake), _select(lake), Path(lake.uri, "part.zip"))


def test_a_bundle_of_a_bucket_includes_files_uploaded_by_other_tools(
    s3_bucket: S3Bucket, lake: LocalStore, tmp_path: Path
) -> None:
    store = store_of(connect(s3_bucket))
    files = tmp_path / "files" / _HARBOR
    files.mkdir(parents=True)
    for item in lake.list(f"data/{_HARBOR}/R1"):
        (files / Path(item.key).name).write_bytes(lake.read_bytes(item.key))
    publish_folder(store, tmp_path / "files", tmp_path / "scratch")
    uploaded = raw_key(f"{_HARBOR}/R1_harbor_lap_end.csv")
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=uploaded, Body=store.read_bytes(uploaded) + b"\n")
    publish_folder(store, None, tmp_path / "scratch")
    part = _select(store, has_raw_files=True)
    write_bundle(store, require_snapshot(store), part, tmp_path / "part")
    assert verify_lake(open_lake(tmp_path / "part"), is_deep=True).wrong == ()
    assert (tmp_path / "part" / uploaded).read_bytes() == lake.read_bytes(uploaded) + b"\n"
    assert open_catalog(tmp_path / "part").files()["sha256"].notna().all()


def test_the_progress_of_a_bundle_ends_at_its_size(lake: LocalStore, tmp_path: Path) -> None:
    selection, steps = _select(lake, has_raw_files=True), list[int]()
    with progress_to(steps.append):
        write_bundle(lake, require_snapshot(lake), selection, tmp_path / "new")
    assert sum(steps) >= bundle_bytes(require_snapshot(lake), selection) > 0
