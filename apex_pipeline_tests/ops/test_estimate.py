"""The estimate of a sync, and whether a sync then does what was estimated."""

from pathlib import Path

import pytest

from apex_pipeline.errors import StoreAuthError, StoreConfigError
from apex_pipeline.ingest.sync_plan import list_lake, list_lake_if_exists, plan_sync
from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.ops.estimate import RequestEstimate, SyncEstimate, estimate_sync, put_requests_for
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.layout import object_key, raw_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.upload.limits import PART_BYTES
from apex_pipeline.tables import RACE_TABLES
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.ingest.lake_in_step import LakeInStep
from apex_pipeline_tests.lake.tables import finish_session
from apex_pipeline_tests.servers.canned import answering, refusal
from apex_pipeline_tests.servers.seaweed import S3Bucket
from apex_pipeline_tests.storage.s3.harness import connect, store_of

_HEADER = "expire_at,lap,meta_event,meta_session,meta_source,meta_time,outing,timestamp,vehicle_id\n"
_ROW = ",{lap},I_R06_2025-09-07,{session},k,2025-09-06T18:4{lap}:41.927Z,0,2025-09-06T18:4{lap}:41.775Z,GR86-002-0\n"
_R1, _R2 = SessionKey("spa", "R1"), SessionKey("spa", "R2")
_START, _END = "spa/R1_spa_lap_start.csv", "spa/R1_spa_lap_end.csv"


def _lap_file(session: str, laps: int = 1) -> str:
    return _HEADER + "".join(_ROW.format(session=session, lap=lap) for lap in range(1, laps + 1))


class Harness:
    """A source folder, a lake, and the estimate of a sync between them."""

    def __init__(self, base: Path, store: LocalStore) -> None:
        self.root, self.store = base / "source", store
        self._lake = LakeInStep(self.root, store)

    def write(self, path: str, content: str) -> int:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        return (self.root / path).write_text(content, encoding="utf-8")

    def sync(self) -> None:
        """Bring the lake to the state after a sync of the source folder."""
        for key in self._lake.sync().sessions:
            finish_session(self.store, key)

    def estimate(self, tracks_file: Path | None = None) -> SyncEstimate:
        settings = load_settings(source_dir=self.root, tracks_file=tracks_file)
        folder = self._lake.folder
        plan = plan_sync(self.store, settings, folder, self._lake.digest_cache, list_lake(self.store))
        return estimate_sync(plan, folder)


@pytest.fixture
def harness(tmp_path: Path, store: LocalStore) -> Harness:
    harness = Harness(tmp_path, store)
    for race in ("R1", "R2"):
        harness.write(f"spa/{race}_spa_lap_start.csv", _lap_file(race))
        harness.write(f"spa/{race}_spa_lap_end.csv", _lap_file(race, laps=2))
    return harness


@pytest.fixture
def synced(harness: Harness) -> Harness:
    harness.sync()
    return harness


@pytest.mark.req("A-050")
def test_everything_but_junk_is_copied_to_a_new_lake(harness: Harness) -> None:
    harness.write("spa/.DS_Store", "x")
    found = harness.estimate()
    assert (found.new.count, found.changed.count, found.unchanged.count, found.missing_from_source.count) == (
        4,
        0,
        0,
        0,
    )
    assert found.ignored.paths == ("spa/.DS_Store",)
    assert found.sessions == (_R1, _R2)
    assert found.bytes_to_copy == found.growth_bytes == found.new.bytes == 2 * len(_lap_file("R1") + _lap_file("R1", 2))


@pytest.mark.req("A-050")
def test_an_unchanged_folder_costs_only_the_scan(synced: Harness) -> None:
    found = synced.estimate()
    assert (found.unchanged.count, found.new.count, found.changed.count) == (4, 0, 0)
    assert (found.sessions, found.is_catalog_stale) == ((), False)
    assert found.requests == RequestEstimate(puts=0, lists=1, gets=6)


def test_a_changed_file_affects_its_session_only(synced: Harness) -> None:
    before, after = len(_lap_file("R1", 2)), synced.write(_END, _lap_file("R1", laps=3))
    found = synced.estimate()
    assert (found.changed.paths, found.new.paths) == ((_END,), ())
    assert (found.bytes_to_copy, found.growth_bytes) == (after, after - before)
    assert found.sessions == (_R1,)
    # One for the file, two for each table, eleven for the session, five for the roll-ups, three to probe the store.
    assert found.requests.puts == 1 + 2 * len(RACE_TABLES) + 11 + 5 + 3


def test_a_touched_file_with_the_same_content_is_unchanged(synced: Harness) -> None:
    synced.write(_END, _lap_file("R1", laps=2))
    assert synced.estimate().requests.puts == 0


@pytest.mark.req("A-050")
def test_a_file_missing_from_the_source_is_listed_and_causes_no_work(synced: Harness) -> None:
    (synced.root / _END).unlink()
    found = synced.estimate()
    assert found.missing_from_source.paths == (_END,)
    assert found.missing_from_source.bytes == len(_lap_file("R1", 2))
    assert (found.sessions, found.requests.puts) == ((), 0)


def test_a_refused_file_is_not_listed_as_missing(synced: Harness, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.csv").write_text(_lap_file("R1", 2), encoding="utf-8")
    (synced.root / _END).unlink()
    (synced.root / _END).symlink_to(tmp_path / "elsewhere.csv")
    found = synced.estimate()
    assert found.refused == ((_END, "it is a link that points outside the source folder"),)
    assert found.missing_from_source.paths == ()


def test_a_file_lost_from_the_lake_is_copied_again(synced: Harness) -> None:
    synced.store.delete(raw_key(_END))
    assert synced.estimate().new.paths == (_END,)


def test_a_session_uploaded_by_another_tool_is_derived_without_copying(synced: Harness) -> None:
    synced.store.write_bytes(raw_key("spa/R3_spa_lap_start.csv"), _lap_file("R3").encode())
    found = synced.estimate()
    assert (found.sessions, found.bytes_to_copy) == ((SessionKey("spa", "R3"),), 0)
    assert found.missing_from_source.paths == ("spa/R3_spa_lap_start.csv",)


def test_a_lost_table_is_derived_again(synced: Harness) -> None:
    snapshot = read_current(synced.store)
    assert snapshot is not None
    session = snapshot.session(_R2)
    assert session is not None
    synced.store.delete(object_key(session.tables["laps"].sha256))
    synced.store.delete(session.tables["laps"].key)
    found = synced.estimate()
    assert (found.sessions, found.is_catalog_stale) == ((_R2,), False)


def test_new_rules_also_apply_to_files_that_are_only_in_the_lake(synced: Harness, tmp_path: Path) -> None:
    (synced.root / _END).unlink()
    (synced.root / _START).unlink()
    tracks = tmp_path / "tracks.yaml"
    tracks.write_text("tracks: [{slug: spa_francorchamps, name: Spa, aliases: [spa]}]", encoding="utf-8")
    found = synced.estimate(tracks)
    assert set(found.sessions) == {SessionKey("spa_francorchamps", "R1"), SessionKey("spa_francorchamps", "R2")}
    assert found.bytes_to_copy == 0


def test_a_quarantined_file_costs_one_request_for_its_reason(harness: Harness) -> None:
    clean = harness.estimate().requests.puts
    harness.write("spa/R2_spa_lap_time.csv", "")
    assert harness.estimate().requests.puts == clean + 2


@pytest.mark.parametrize(
    ("size", "puts"),
    [(0, 1), (1, 1), (PART_BYTES, 1), (PART_BYTES + 1, 4), (3 * PART_BYTES, 5), (20_000 * PART_BYTES, 10_002)],
)
def test_a_large_object_takes_its_parts_and_two_more_requests(size: int, puts: int) -> None:
    assert put_requests_for(size) == puts


@pytest.mark.req("A-050")
@pytest.mark.parametrize("size", [3, 2 * PART_BYTES + 5])
def test_an_upload_sends_as_many_requests_as_estimated(s3_bucket: S3Bucket, tmp_path: Path, size: int) -> None:
    connection, names = connect(s3_bucket), list[str]()
    store = store_of(connection)
    connection.client.meta.events.register("before-call.s3", lambda model, **_: names.append(model.name))
    (tmp_path / "big").write_bytes(bytes(size))
    store.write_file("data/big", tmp_path / "big")
    writing = [name for name in names if name not in {"HeadObject", "GetObject", "ListObjectsV2"}]
    assert len(writing) == put_requests_for(size)


def test_a_missing_bucket_has_no_lake_state(s3_bucket: S3Bucket) -> None:
    assert list_lake_if_exists(store_of(connect(s3_bucket, name="no-such-bucket-of-anyone"))) is None
    assert list_lake_if_exists(store_of(connect(s3_bucket))) == {}


def test_wrong_credentials_are_an_error(s3_bucket: S3Bucket) -> None:
    with pytest.raises(StoreAuthError, match="secret does not belong"):
        list_lake_if_exists(store_of(connect(s3_bucket, secret="wrong")))  # noqa: S106  -- not a real secret


def test_a_bucket_in_another_region_is_an_error() -> None:
    with answering(301, refusal("PermanentRedirect"), {"x-amz-bucket-region": "eu-west-1"}) as endpoint:
        store = store_of(S3Connection("races", "us-east-1", endpoint, "key", "invalid"))
        with pytest.raises(StoreConfigError, match="in another region"):
            list_lake_if_exists(store)
