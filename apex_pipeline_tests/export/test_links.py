"""The names by which an object is found in a lake, and its public address."""

import pytest

from apex_pipeline.errors import ConfigurationError, ObjectMissingError
from apex_pipeline.export.links import find_object, public_address
from apex_pipeline.lake.tables import require_snapshot
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.keys import UnsafeKeyError
from apex_pipeline.storage.layout import object_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.store import S3Store
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import publish_tables

_R1 = SessionKey("spa", "R1")
_TABLE = "tables/laps/track=spa/session=R1/laps.parquet"


@pytest.fixture
def lake(store: LocalStore) -> LocalStore:
    store.write_bytes("data/spa/R1 laps.csv", b"x")
    publish_tables(store, _R1)
    return store


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("data/spa/R1 laps.csv", "data/spa/R1 laps.csv"),
        ("spa/R1 laps.csv", "data/spa/R1 laps.csv"),
        (_TABLE, _TABLE),
    ],
)
def test_an_object_is_found_by_key_and_by_raw_path(lake: LocalStore, name: str, key: str) -> None:
    assert find_object(lake, name) == key


def test_a_session_table_is_found_as_the_object_that_never_changes(lake: LocalStore) -> None:
    laps = require_snapshot(lake).sessions[0].tables["laps"]
    assert find_object(lake, "spa/R1/laps") == object_key(laps.sha256)


@pytest.mark.parametrize("name", ["spa/R1/lapse", "spa/R2/laps", "spa/R1.csv", "nothing"])
def test_a_missing_object_is_an_error_that_explains_the_names(lake: LocalStore, name: str) -> None:
    with pytest.raises(ObjectMissingError, match=rf"has no object {name}.*TRACK/SESSION/TABLE"):
        find_object(lake, name)


def test_an_empty_lake_has_no_tables_to_find(store: LocalStore) -> None:
    with pytest.raises(ObjectMissingError, match="has no object spa/R1/laps"):
        find_object(store, "spa/R1/laps")


def test_a_name_that_points_outside_the_lake_is_refused(lake: LocalStore) -> None:
    with pytest.raises(UnsafeKeyError):
        find_object(lake, "../secrets")


def _bucket_store(prefix: str) -> S3Store:
    return S3Store(S3Connection("races", "us-east-1"), prefix, DigestCache())


@pytest.mark.req("A-135")
@pytest.mark.parametrize("base", ["https://cdn.example.com", "https://cdn.example.com/"])
def test_the_public_address_is_the_base_url_plus_the_key(base: str) -> None:
    address = public_address(_bucket_store("public"), "data/Spa/Räce 1.csv", base)
    assert address == "https://cdn.example.com/public/data/Spa/R%C3%A4ce%201.csv"


@pytest.mark.req("K-01")
def test_without_a_base_url_nothing_is_public() -> None:
    with pytest.raises(ConfigurationError, match="PUBLIC_BASE_URL is not set"):
        public_address(_bucket_store(""), "data/a.csv", None)


def test_a_local_lake_has_no_public_address(store: LocalStore) -> None:
    with pytest.raises(ConfigurationError, match="is a file on this machine"):
        public_address(store, "data/a.csv", "https://cdn.example.com")
