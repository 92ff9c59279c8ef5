"""Tests that what was taken out is neither published nor listed nor copied again, and that it can be brought back."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from apex_pipeline.catalog import Catalog
from apex_pipeline.errors import ConfigurationError, StoreLockedError
from apex_pipeline.lake.forget import bring_back, plan_removal, plan_return, remove
from apex_pipeline.lake.forgotten import read_forgotten
from apex_pipeline.lake.integrity import verify_lake
from apex_pipeline.lake.records import read_record
from apex_pipeline.lake.retention import Retention, find_expired, remove_expired
from apex_pipeline.lake.session_reports import sealed, write_report
from apex_pipeline.lake.tables import require_snapshot
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import raw_key, report_key
from apex_pipeline.storage.leases import Holder, held
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.derived import publish_folder
from apex_pipeline_tests.lake.tables import NOON

_HARBOR, _MESA = "harbor_street_circuit", "mesa_verde_raceway"
_R1, _R2 = SessionKey(_HARBOR, "R1"), SessionKey(_HARBOR, "R2")
_LAP_END = f"{_HARBOR}/R1_harbor_lap_end.csv"
_LATER = NOON + timedelta(hours=1)


@pytest.fixture
def source(derived_lake: Path, tmp_path: Path) -> Path:
    """The source folder of the lake, which tests may change."""
    shutil.copytree(derived_lake / "files", tmp_path / "files")
    return tmp_path / "files"


@pytest.fixture
def settings(source: Path, tmp_path: Path) -> Settings:
    return load_settings(source_dir=source, lake_dir=tmp_path / "lake", state_dir=tmp_path / "state")


def _forget(store: ObjectStore, name: str, settings: Settings) -> None:
    remove(store, plan_removal(store, name, settings), datetime.now(UTC), _fail_to_wait)


def _fail_to_wait(holder: Holder) -> None:
    pytest.fail(f"waits for {holder}")


def _sync(store: ObjectStore, source: Path, tmp_path: Path) -> None:
    publish_folder(store, source, tmp_path / "scratch", now=_LATER)


def _published(store: ObjectStore) -> set[SessionKey]:
    return set(require_snapshot(store).keys)


def _everything_about(store: ObjectStore, key: SessionKey) -> list[str]:
    """Return the keys of the objects that readers and programs see of a session."""
    parts = (f"track={key.track}/session={key.session}/", f"catalog/records/{key}", f"catalog/derived/{key}")
    return [item.key for item in store.list() if any(part in item.key for part in parts)]


def test_a_session_is_no_longer_published_nor_listed(lake: LocalStore, settings: Settings) -> None:
    before = _published(lake)
    for key in (_R1, _R2):
        write_report(lake, key, sealed("<p>").encode(), lambda: None)
    _forget(lake, "harbor/r1", settings)
    assert [item.key for item in lake.list("reports/")] == [report_key(str(_R2))]
    assert _published(lake) == before - {_R1}
    assert _everything_about(lake, _R1) == []
    catalog = Catalog(lake)
    assert _R1.session not in set(catalog.sessions().query(f"track == '{_HARBOR}'")["session"])
    assert not [path for path in catalog.files()["path"] if path.startswith(f"{_HARBOR}/R1_")]
    assert verify_lake(lake, is_deep=True).wrong == ()


def test_no_sync_brings_it_back(lake: LocalStore, source: Path, settings: Settings, tmp_path: Path) -> None:
    _forget(lake, str(_R1), settings)
    before = {item.key: item.tag for item in lake.list("data/")}
    _sync(lake, source, tmp_path)
    assert _R1 not in _published(lake)
    assert read_record(lake, _R1) is None
    assert {item.key: item.tag for item in lake.list("data/")} == before


def test_nor_does_it_come_back_from_a_lake_without_its_source(
    lake: LocalStore, settings: Settings, tmp_path: Path
) -> None:
    _forget(lake, str(_R1), settings)
    publish_folder(lake, None, tmp_path / "scratch", now=_LATER)
    assert _R1 not in _published(lake)


def test_other_content_under_the_same_path_is_a_new_file(
    lake: LocalStore, source: Path, settings: Settings, tmp_path: Path
) -> None:
    _forget(lake, _LAP_END, settings)
    (source / _LAP_END).write_bytes((source / _LAP_END).read_bytes() + b"\n")
    _sync(lake, source, tmp_path)
    record = read_record(lake, _R1)
    assert record is not None
    assert _LAP_END in {file.path for file in record.files_in_use}


@pytest.mark.parametrize("form", ["path", "key", "local path"])
def test_a_file_is_taken_out_and_its_session_published_again_without_it(
    lake: LocalStore, source: Path, settings: Settings, tmp_path: Path, form: str
) -> None:
    names = {"path": _LAP_END, "key": raw_key(_LAP_END), "local path": str(source / _LAP_END)}
    removal = plan_removal(lake, names[form], settings)
    assert ([file.path for file in removal.files], removal.sessions, removal.is_partial) == ([_LAP_END], (_R1,), True)
    _forget(lake, names[form], settings)
    # What was derived from it must not stay published until the next sync.
    assert _R1 not in _published(lake)
    _sync(lake, source, tmp_path)
    session = require_snapshot(lake).session(_R1)
    assert session is not None
    assert len(session.files) == 10
    assert _LAP_END not in {file.path for file in session.files}
    assert verify_lake(lake, is_deep=True).wrong == ()


def test_a_track_is_taken_out_with_its_files_without_a_session(
    lake: LocalStore, source: Path, settings: Settings, tmp_path: Path
) -> None:
    removal = plan_removal(lake, "mesa", settings)
    assert removal.sessions == (SessionKey(_MESA, "R1"), SessionKey(_MESA, "R2"))
    _forget(lake, "mesa", settings)
    _sync(lake, source, tmp_path)
    assert {key.track for key in _published(lake)} == {_HARBOR}
    files = Catalog(lake).files()
    # What is only in the source folder and never copied is listed there as before.
    assert not [path for path in files[files["status"] != "ignored"]["path"] if "Mesa" in path]
    assert [item.key for item in lake.list("quarantine/") if "Mesa" in item.key] == []


def test_earlier_snapshots_still_show_it_until_they_expire(lake: LocalStore, settings: Settings) -> None:
    earlier = require_snapshot(lake).id
    _forget(lake, str(_R1), settings)
    assert len(Catalog(lake, earlier).laps(*_R1)) == 48
    retention, later = Retention(timedelta(days=30), timedelta(hours=1)), datetime.now(UTC) + timedelta(days=31)
    remove_expired(lake, find_expired(lake, retention, later), retention, later)
    assert [item.key for item in lake.list("data/") if f"{_HARBOR}/R1_" in item.key] == []
    with pytest.raises(ConfigurationError, match="is neither a time nor a snapshot"):
        Catalog(lake, earlier)
    assert verify_lake(lake, is_deep=True).wrong == ()


@pytest.mark.parametrize("name", [_LAP_END, "harbor/r1", "harbor"])
def test_it_is_brought_back(lake: LocalStore, source: Path, settings: Settings, tmp_path: Path, name: str) -> None:
    before = require_snapshot(lake)
    _forget(lake, name, settings)
    returned = bring_back(lake, plan_return(lake, name, settings))
    assert (_LAP_END in returned.present, returned.gone) == (True, ())
    assert read_forgotten(lake).files == {}
    _sync(lake, source, tmp_path)
    after = require_snapshot(lake)
    assert {key: (entry.inputs_version, entry.objects) for key, entry in after.entries.items()} == {
        key: (entry.inputs_version, entry.objects) for key, entry in before.entries.items()
    }


def test_what_gc_has_removed_must_be_put_back_into_the_source_folder(
    lake: LocalStore, source: Path, settings: Settings, tmp_path: Path
) -> None:
    before = require_snapshot(lake)
    _forget(lake, _LAP_END, settings)
    lake.delete(raw_key(_LAP_END))
    returned = bring_back(lake, plan_return(lake, _LAP_END, settings))
    assert returned.gone == (_LAP_END,)
    _sync(lake, source, tmp_path)
    entry = require_snapshot(lake).entry(_R1)
    assert entry is not None
    assert entry.inputs_version == before.entries[_R1].inputs_version


def test_a_file_of_which_two_contents_were_taken_out_stays_out(
    lake: LocalStore, source: Path, settings: Settings, tmp_path: Path
) -> None:
    first = (source / _LAP_END).read_bytes()
    _forget(lake, _LAP_END, settings)
    (source / _LAP_END).write_bytes(first + b"\n")
    _sync(lake, source, tmp_path)
    _forget(lake, _LAP_END, settings)
    assert len(read_forgotten(lake).files[_LAP_END]) == 2
    (source / _LAP_END).write_bytes(first)
    _sync(lake, source, tmp_path)
    record = read_record(lake, _R1)
    assert record is not None
    assert _LAP_END not in {file.path for file in record.files}


@pytest.mark.parametrize("step", ["publish", "clear_derived", "write_roll_ups"])
def test_an_interrupted_removal_is_finished_by_repeating_it(
    lake: LocalStore, settings: Settings, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(f"apex_pipeline.lake.forget.{step}", die)
        with pytest.raises(KeyboardInterrupt):
            _forget(lake, str(_R1), settings)
    if step != "write_roll_ups":
        _forget(lake, str(_R1), settings)
    assert _R1 not in _published(lake)
    assert _everything_about(lake, _R1) == []


def test_a_session_that_another_process_works_on_is_waited_for(
    lake: LocalStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apex_pipeline.lake.forget.LONGEST_WAIT_S", 0.1)
    waited_for: list[Holder] = []
    removal = plan_removal(lake, str(_R1), settings)
    with held(lake, str(_R1), "deriving"), pytest.raises(StoreLockedError, match="deriving"):
        remove(lake, removal, datetime.now(UTC), waited_for.append)
    assert [holder.doing for holder in waited_for] == ["deriving"]
    # From then on no sync takes the files in again, although their session is still published.
    assert read_forgotten(lake).knows(_LAP_END)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("harbor/r9", "harbor_street_circuit has no session 'r9'"),
        ("sebring", "The lake has no track 'sebring'"),
        ("harbor_street_circuit/R1_harbor_lap_emd.csv", r"no raw file .*Did you mean .*R1_harbor_lap_end\.csv"),
        ("nothing.csv", "no raw file 'nothing.csv'"),
    ],
)
def test_an_unknown_name_is_an_error(lake: LocalStore, settings: Settings, name: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        plan_removal(lake, name, settings)


def test_only_what_was_taken_out_can_be_brought_back(lake: LocalStore, settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match=r"No file called 'harbor' was taken out .* nothing"):
        plan_return(lake, "harbor", settings)
    _forget(lake, _LAP_END, settings)
    with pytest.raises(ConfigurationError, match="has no track 'mesa'"):
        plan_return(lake, "mesa", settings)
