"""A report as a file of the lake: what is noted about it, and that its page is whole."""

import shutil
from pathlib import Path

import pytest

from apex_pipeline.errors import NotPublishedError
from apex_pipeline.lake.session_reports import is_intact, sealed
from apex_pipeline.reports.stored_report import store_report
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store
from apex_pipeline.storage.layout import report_key
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.reports.session_report.race_tables import publish, race

_FULL, _EMPTY = SessionKey("mesa_verde_raceway", "R1"), SessionKey("mesa_verde_raceway", "R2")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(tmp_path_factory.mktemp("stored"), {_FULL: race(3, 4), _EMPTY: {}})


@pytest.fixture
def store(original: Path, tmp_path: Path) -> ObjectStore:
    shutil.copytree(original, tmp_path / "lake")
    return open_store(load_settings(lake_dir=tmp_path / "lake", state_dir=tmp_path / "state"), for_writing=True)


@pytest.mark.parametrize(("key", "cars", "laps"), [(_FULL, 3, 10), (_EMPTY, 0, 0)])
def test_a_session_with_and_one_without_laps_have_a_report(
    store: ObjectStore, key: SessionKey, cars: int, laps: int
) -> None:
    stored = store_report(store, key, load_settings(), lambda: None)
    content = store.read_bytes(report_key(str(key)))
    assert (stored.cars, stored.laps, stored.bytes) == (cars, laps, len(content))
    assert stored.uri == store.uri_of(report_key(str(key)))
    assert is_intact(content)
    assert ("Lap chart" in stored.lacking) == (laps == 0)
    assert stored.snapshot in content.decode()


def test_a_session_that_is_not_published_has_none(store: ObjectStore) -> None:
    with pytest.raises(NotPublishedError, match="mesa_verde_raceway/R9 is not published"):
        store_report(store, SessionKey("mesa_verde_raceway", "R9"), load_settings(), lambda: None)
    assert list(store.list("reports/")) == []


@pytest.mark.parametrize("content", [b"", b"<p>", sealed("<p>").encode() + b"\n", sealed("<p>").encode()[1:]])
def test_a_page_without_its_seal_or_with_another_one_is_not_intact(content: bytes) -> None:
    assert not is_intact(content)
    assert is_intact(sealed("<p>\u0633").encode())
