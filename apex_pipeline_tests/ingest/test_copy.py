"""Tests copying source files: a failure names the file, says whether a rerun can help, and does not block others."""

from pathlib import Path

import pytest

from apex_pipeline.errors import (
    ApexError,
    FileChangedError,
    PermanentError,
    StoreAuthError,
    StoreUnavailableError,
    TransientError,
)
from apex_pipeline.ingest.copy import copy_source_files
from apex_pipeline.ingest.source_folder import scan_folder
from apex_pipeline.progress import Progress
from apex_pipeline.storage.base import ObjectInfo
from apex_pipeline.storage.copy import CopyReport
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import raw_key
from apex_pipeline.storage.local import LocalStore

_TEXT = "lap,vehicle_id,timestamp,meta_time,meta_session\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source" / "spa"
    folder.mkdir(parents=True)
    for kind in ("start", "end", "time"):
        (folder / f"R1_spa_lap_{kind}.csv").write_text(_TEXT, encoding="utf-8")
    return folder.parent


class FailingStore(LocalStore):
    """A local lake that refuses to write certain keys."""

    def __init__(self, root: Path, errors: dict[str, ApexError]) -> None:
        super().__init__(root, DigestCache())
        self._errors = errors

    def write_file(
        self, key: str, path: Path, *, sha256: str | None = None, progress: Progress | None = None
    ) -> ObjectInfo:
        if key in self._errors:
            raise self._errors[key]
        return super().write_file(key, path, sha256=sha256, progress=progress)


def _copy(source: Path, lake: Path, errors: dict[str, ApexError]) -> CopyReport:
    store = FailingStore(lake, errors)
    store.prepare_for_writing()
    return copy_source_files(store, scan_folder(source).files, DigestCache())


def _raw_keys(lake: Path) -> list[str]:
    return [stored.key for stored in LocalStore(lake, DigestCache()).list("data/")]


def test_all_files_of_a_session_are_copied(source: Path, tmp_path: Path) -> None:
    report = _copy(source, tmp_path / "lake", {})
    assert (len(report.copied), len(report.unchanged), report.bytes_copied) == (3, 0, 3 * len(_TEXT))
    assert len(_raw_keys(tmp_path / "lake")) == 3


def test_what_a_copy_wrote_or_found_is_noted_with_its_tag(source: Path, tmp_path: Path) -> None:
    store = FailingStore(tmp_path / "lake", {})
    store.prepare_for_writing()
    files = scan_folder(source).files
    for _ in range(2):
        stored: dict[str, ObjectInfo] = {}
        copy_source_files(store, files, DigestCache(), None, stored)
        assert {path: item.tag for path, item in stored.items()} == {
            item.key.removeprefix("data/"): item.tag for item in store.list("data/")
        }


def test_what_was_written_before_a_failure_is_noted(source: Path, tmp_path: Path) -> None:
    error = PermanentError("too long a name", "Rename it.")
    store = FailingStore(tmp_path / "lake", {raw_key("spa/R1_spa_lap_end.csv"): error})
    store.prepare_for_writing()
    stored: dict[str, ObjectInfo] = {}
    with pytest.raises(PermanentError):
        copy_source_files(store, scan_folder(source).files, DigestCache(), None, stored)
    assert sorted(stored) == ["spa/R1_spa_lap_start.csv", "spa/R1_spa_lap_time.csv"]


@pytest.mark.req("A-047", "A-078")
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (StoreUnavailableError("throttled", "Run it again."), TransientError),
        (FileChangedError("gone", "Run it again."), TransientError),
        (PermanentError("too long a name", "Rename it."), PermanentError),
    ],
)
def test_one_failed_file_does_not_stop_the_others(
    source: Path, tmp_path: Path, error: ApexError, kind: type[ApexError]
) -> None:
    with pytest.raises(kind, match=r"1 of 3 files were not copied\. spa/R1_spa_lap_end\.csv: ") as raised:
        _copy(source, tmp_path / "lake", {raw_key("spa/R1_spa_lap_end.csv"): error})
    assert type(raised.value) is kind
    assert _raw_keys(tmp_path / "lake") == [raw_key(f"spa/R1_spa_lap_{name}.csv") for name in ("start", "time")]


@pytest.mark.req("A-048")
def test_rejected_credentials_stop_the_batch_and_the_error_counts_every_file(source: Path, tmp_path: Path) -> None:
    error = StoreAuthError("the key is unknown", "Check AWS_ACCESS_KEY_ID.")
    errors: dict[str, ApexError] = {raw_key(f"spa/R1_spa_lap_{kind}.csv"): error for kind in ("start", "end", "time")}
    with pytest.raises(PermanentError, match=r"3 of 3 .* Check AWS_ACCESS_KEY_ID") as raised:
        _copy(source, tmp_path / "lake", errors)
    assert raised.value.problem.count("the key is unknown") == 3
    assert _raw_keys(tmp_path / "lake") == []
