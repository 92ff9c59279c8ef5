"""A lake behind a web server: ranges, no listing, digests, servers that fail or cannot do what is asked."""

import io
import logging
from collections.abc import Generator
from pathlib import Path

import pytest

from apex_pipeline.catalog import Catalog, open_catalog
from apex_pipeline.errors import (
    ApexError,
    ConfigurationError,
    FileChangedError,
    ObjectMissingError,
    StoreConfigError,
    StoreCorruptionError,
    StorePermissionError,
    StoreUnavailableError,
)
from apex_pipeline.settings import load_settings
from apex_pipeline.storage import read_only, web
from apex_pipeline.storage.layout import CURRENT_SNAPSHOT_KEY, object_key, snapshot_key
from apex_pipeline.storage.web import WebStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.catalog.race_lake import CAR, SESSION, TRACK, local_store, publish_race
from apex_pipeline_tests.lake.tables import NOON, publish_tables
from apex_pipeline_tests.servers.static import StaticServer, serving

_CHANNELS = ["speed_kph", "gear"]


@pytest.fixture
def server(tmp_path: Path) -> Generator[StaticServer]:
    publish_race(local_store(tmp_path), 300)
    with serving(tmp_path / "lake") as served:
        yield served


@pytest.fixture
def store(server: StaticServer, tmp_path: Path) -> WebStore:
    return WebStore(server.address + "/", tmp_path / "state")


@pytest.fixture
def only_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat every object as large."""
    for module in (read_only, web):
        monkeypatch.setattr(module, "WHOLE_BYTES", 0)


def _tables(catalog: Catalog) -> list[object]:
    samples = catalog.telemetry_arrow(TRACK, SESSION, vehicle_id=CAR, channels=_CHANNELS)
    return [catalog.laps(TRACK, SESSION, frame="arrow"), catalog.list_arrow("sessions"), samples]


def test_a_lake_behind_a_web_server_reads_like_its_folder(server: StaticServer, tmp_path: Path) -> None:
    settings = load_settings(state_dir=tmp_path / "state")
    catalog = open_catalog(server.address, settings)
    assert _tables(catalog) == _tables(open_catalog(tmp_path / "lake", settings))
    assert catalog.uri == server.address
    assert {method for method, _, _ in server.requests} == {"GET", "HEAD"}


def test_a_part_of_a_large_table_is_read_in_ranges(server: StaticServer, store: WebStore, only_ranges: None) -> None:
    catalog = Catalog(store)
    samples = catalog.telemetry_arrow(TRACK, SESSION, vehicle_id=CAR, channels=_CHANNELS)
    assert samples.num_rows == 300
    record = catalog.snapshot.sessions[0].tables["telemetry"]
    ranges = [wanted for _, path, wanted in server.requests if path == f"/{object_key(record.sha256)}" and wanted]
    spans = [wanted.removeprefix("bytes=").split("-") for wanted in ranges]
    assert 0 < sum(int(last) - int(first) + 1 for first, last in spans) < record.bytes / 2
    assert not any(method == "GET" and not wanted and record.sha256 in path for method, path, wanted in server.requests)
    assert store.request_stats.requests == len(server.requests)


def test_a_server_without_ranges_gives_the_whole_object_and_it_is_logged_once(
    server: StaticServer, store: WebStore, only_ranges: None, caplog: pytest.LogCaptureFixture
) -> None:
    server.has_ranges = False
    catalog = Catalog(store)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert catalog.telemetry_arrow(TRACK, SESSION, vehicle_id=CAR, channels=_CHANNELS).num_rows == 300
    assert [record.getMessage() for record in caplog.records] == [
        f"{server.address} serves no ranges, so each telemetry file is fetched as a whole."
    ]
    with pytest.raises(StoreConfigError, match="sends no part of"):
        store.read_head(CURRENT_SNAPSHOT_KEY, 3)


def test_earlier_snapshots_are_found_without_a_listing(tmp_path: Path) -> None:
    local = local_store(tmp_path)
    for version in range(3):
        publish_tables(local, SessionKey("spa", "R1"), f"v{version}", laps=version + 1, now=NOON.replace(hour=version))
    with serving(tmp_path / "lake") as server:
        store = WebStore(server.address, tmp_path / "state")
        ids = Catalog(store).snapshots()["snapshot"].tolist()
        assert len(ids) == 3
        for as_of, laps in ((NOON.replace(hour=1), 2), (ids[2], 1), ("2026-11-21", 3)):
            assert len(Catalog(store, as_of).laps("spa", "R1")) == laps
        (tmp_path / "lake" / snapshot_key(ids[2])).unlink()
        with pytest.raises(ObjectMissingError, match="No snapshot of"):
            Catalog(store, NOON.replace(hour=0))
        with pytest.raises(StoreConfigError, match="cannot be listed"):
            store.list()


def test_a_damaged_object_is_found_by_the_digest_in_its_name(server: StaticServer, store: WebStore) -> None:
    catalog = Catalog(store)
    record = catalog.snapshot.sessions[0].tables["laps"]
    path = server.folder / object_key(record.sha256)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(StoreCorruptionError, match="digest in its name"):
        catalog.laps(TRACK, SESSION)
    with pytest.raises(StoreCorruptionError, match="digest in its name"):
        store.read_bytes(object_key(record.sha256))
    assert catalog.telemetry(TRACK, SESSION, vehicle_id=CAR, channels=_CHANNELS).shape[0] == 300


def test_an_object_that_is_missing_is_named_and_the_others_go_on(server: StaticServer, store: WebStore) -> None:
    catalog = Catalog(store)
    key = object_key(catalog.snapshot.sessions[0].tables["laps"].sha256)
    (server.folder / key).unlink()
    with pytest.raises(ObjectMissingError, match="is missing or damaged"):
        catalog.laps(TRACK, SESSION)
    assert len(catalog.cars(TRACK, SESSION)) == 21
    for read in (store.read_bytes, lambda key: store.read_head(key, 3)):
        with pytest.raises(ObjectMissingError, match="does not exist"):
            read(key)


def test_an_object_that_is_replaced_while_it_is_read_is_an_error(
    server: StaticServer, store: WebStore, only_ranges: None
) -> None:
    key = object_key(Catalog(store).snapshot.sessions[0].tables["telemetry"].sha256)
    with store.open_seekable(key) as stream:
        stream.seek(-4, io.SEEK_END)
        assert stream.read() == b"PAR1"
        (server.folder / key).unlink()
        (server.folder / key).write_bytes(b"another")
        stream.seek(0)
        with pytest.raises(FileChangedError, match="was replaced while it was read"):
            stream.read()


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (401, StorePermissionError, "refuses"),
        (403, StorePermissionError, "refuses"),
        (418, StoreConfigError, "does not send"),
        (408, StoreUnavailableError, "fails"),
    ],
)
def test_a_refusal_is_an_error_with_the_next_step(
    server: StaticServer, store: WebStore, status: int, kind: type[ApexError], message: str
) -> None:
    server.refuses = [status]
    with pytest.raises(kind, match=message):
        Catalog(store)


def test_a_server_that_fails_for_a_moment_is_asked_again(
    server: StaticServer, store: WebStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    server.refuses = [503, 500]
    assert len(Catalog(store).laps(TRACK, SESSION)) > 0
    server.refuses = [503] * 9
    with pytest.raises(StoreUnavailableError, match="status 503"):
        Catalog(store)


def test_a_reply_that_is_cut_off_is_asked_for_again(server: StaticServer, store: WebStore, tmp_path: Path) -> None:
    server.cuts = 2
    assert len(Catalog(store).laps(TRACK, SESSION)) > 0
    server.cuts = 2
    key = object_key(Catalog(store).snapshot.sessions[0].tables["telemetry"].sha256)
    with store.open_as_file(key) as path:
        assert path.read_bytes() == (server.folder / key).read_bytes()
    server.cuts = 3
    with pytest.raises(StoreUnavailableError, match="was cut off"):
        Catalog(store)


def test_a_server_that_compresses_what_nobody_asked_for_is_named(server: StaticServer, store: WebStore) -> None:
    server.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(StoreConfigError, match="compresses"):
        Catalog(store)


def test_a_document_that_is_too_large_is_not_read(server: StaticServer, store: WebStore) -> None:
    with pytest.raises(StoreCorruptionError, match=r"it has [\d,]+ bytes, at most 3 were expected"):
        store.read_with_tag(CURRENT_SNAPSHOT_KEY, 3)


def test_a_server_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(StoreUnavailableError, match=r"http://127\.0\.0\.1:9 cannot be reached"):
        Catalog(WebStore("http://127.0.0.1:9", tmp_path))


def test_an_address_without_a_lake_is_an_error(server: StaticServer, tmp_path: Path) -> None:
    store = WebStore(f"{server.address}/nothing", tmp_path)
    with pytest.raises(ObjectMissingError, match=r"Nothing is published in .*/nothing\. Check the address"):
        Catalog(store)
    with pytest.raises(ObjectMissingError, match="There is no lake at"):
        store.check_access()
    WebStore(server.address, tmp_path).check_access()


@pytest.mark.parametrize("address", ["https://", "https://me:" + "secret@host/lake", "https://host/lake?key=secret"])
def test_an_address_with_a_secret_is_refused_without_showing_it(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigurationError, match="not the address of a lake") as raised:
        open_catalog(address)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("host", ["[::1", "me:" + "secret@a\u2100b"])
def test_a_host_that_cannot_be_one_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigurationError, match="host that cannot be one") as raised:
        open_catalog(f"https://{host}/lake")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("proxy", ["proxy.example:3128", "socks5://me:" + "secret@proxy.example"])
def test_a_proxy_that_cannot_be_used_is_named_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("no_proxy", "other.example")
    with pytest.raises(StoreConfigError, match="proxy") as raised:
        WebStore("http://lake.example", tmp_path)
    assert "secret" not in str(raised.value)


def test_nothing_is_written(store: WebStore, tmp_path: Path) -> None:
    for write in (
        lambda: store.write_bytes("a", b""),
        lambda: store.write_if("a", b"", None),
        lambda: store.write_file("a", tmp_path / "a"),
        lambda: store.copy("a", "b"),
        lambda: store.delete("a"),
        lambda: store.delete_if("a", "tag"),
    ):
        with pytest.raises(StorePermissionError, match="can only be read"):
            write()
    with pytest.raises(ConfigurationError, match="signs no URLs"):
        store.presigned_url("a", 9)
    assert (store.incomplete_uploads(), store.has_conditional_writes, store.version_age_s("a", "t")) == (
        [],
        False,
        None,
    )


def test_a_proxy_of_the_environment_is_used(
    server: StaticServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.address)
    monkeypatch.setenv("no_proxy", "other.example")
    assert WebStore("http://lake.example", tmp_path).head(CURRENT_SNAPSHOT_KEY) is None
    assert server.requests == [("HEAD", f"http://lake.example/{CURRENT_SNAPSHOT_KEY}", None)]
