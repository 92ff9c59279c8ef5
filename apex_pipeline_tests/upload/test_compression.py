"""Compression during an upload: reproducible bytes, each file compressed once, and no other file overwritten."""

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from apex_pipeline.errors import FileChangedError, StorageFullError
from apex_pipeline.settings import load_settings
from apex_pipeline.sources.compression import decompress
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.factory import open_digest_cache
from apex_pipeline.upload import UploadReport, UploadStatus
from apex_pipeline.upload.compression import Compression, Compressor, is_compressible
from apex_pipeline.upload.upload import UploadTarget, upload_to
from apex_pipeline_tests.servers.seaweed import S3Bucket
from apex_pipeline_tests.upload.conftest import RequestRecorder

_ENDINGS = {Compression.GZIP: ".gz", Compression.ZSTD: ".zst"}


def _upload(bucket: S3Bucket, folder: Path, compression: Compression | None) -> UploadReport:
    return upload_to(UploadTarget(bucket.name, "data", compression), folder, load_settings())


@pytest.fixture(params=list(Compression))
def compression(request: pytest.FixtureRequest) -> Compression:
    return request.param


@pytest.mark.parametrize(
    ("path", "expected"),
    [("a.csv", True), ("A.CSV", True), ("a.json", True), ("a.xml", True), ("a.csv.gz", False), ("csv", False)],
)
def test_only_text_files_are_compressible(path: str, *, expected: bool) -> None:
    assert is_compressible(path) is expected


@pytest.mark.req("A-134")
def test_text_files_are_compressed_and_keep_their_content(
    bucket: S3Bucket, folder: Path, content_of: Callable[[str], bytes], compression: Compression
) -> None:
    report = _upload(bucket, folder, compression)
    ending = _ENDINGS[compression]
    assert report
    for path in (path for path in folder.rglob("*") if path.is_file()):
        key = f"data/{path.relative_to(folder).as_posix()}"
        stored = f"{key}{ending}" if key.endswith(".csv") else key
        assert decompress(content_of(stored), stored) == path.read_bytes()
    assert len(bucket.object_keys()) == 5
    assert report.bytes_sent < sum(file.size for file in report.files)


@pytest.mark.req("A-049", "A-134")
def test_an_unchanged_file_is_neither_sent_nor_compressed_again(
    bucket: S3Bucket,
    folder: Path,
    recorder: RequestRecorder,
    compression: Compression,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _upload(bucket, folder, compression)
    recorder.requests.clear()
    monkeypatch.delattr(Compressor, "compressed")
    report = _upload(bucket, folder, compression)
    assert report.summary == "5 succeeded, 0 failed (0 uploaded, 5 unchanged, 0 bytes sent)"
    assert recorder.writes == 0


@pytest.mark.req("A-049", "A-134")
def test_another_machine_compresses_to_the_same_bytes_and_sends_nothing(
    bucket: S3Bucket,
    folder: Path,
    recorder: RequestRecorder,
    compression: Compression,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _upload(bucket, folder, compression)
    recorder.requests.clear()
    monkeypatch.setenv("APEX_STATE_DIR", "other-machine")
    assert "5 unchanged" in _upload(bucket, folder, compression).summary
    assert recorder.writes == 0


@pytest.mark.req("A-049", "A-134")
def test_only_the_changed_file_is_compressed_and_sent(
    bucket: S3Bucket,
    folder: Path,
    recorder: RequestRecorder,
    compression: Compression,
    content_of: Callable[[str], bytes],
) -> None:
    _upload(bucket, folder, compression)
    recorder.requests.clear()
    (folder / "barber/empty.csv").write_bytes(b"time;rain\n")
    report = _upload(bucket, folder, compression)
    assert [file.path for file in report.of(UploadStatus.UPLOADED)] == ["barber/empty.csv"]
    assert recorder.writes == 1
    key = f"data/barber/empty.csv{_ENDINGS[compression]}"
    assert decompress(content_of(key), key) == b"time;rain\n"


def test_a_compressed_file_never_overwrites_another_file(
    bucket: S3Bucket, folder: Path, content_of: Callable[[str], bytes]
) -> None:
    (folder / "a.csv").write_bytes(b"new")
    (folder / "a.csv.gz").write_bytes(gzip.compress(b"old"))
    report = _upload(bucket, folder, Compression.GZIP)
    assert [file.path for file in report.of(UploadStatus.FAILED)] == ["a.csv"]
    assert "would overwrite a.csv.gz" in str(report.of(UploadStatus.FAILED)[0].problem)
    assert gzip.decompress(content_of("data/a.csv.gz")) == b"old"


def test_other_forms_left_by_earlier_uploads_are_reported(bucket: S3Bucket, folder: Path) -> None:
    assert _upload(bucket, folder, None).other_forms == ()
    names = ["COTA/Race 1/R1_cota_lap_time.csv", "barber/R1_barber_weather.csv", "barber/empty.csv"]
    assert _upload(bucket, folder, Compression.GZIP).other_forms == tuple(f"data/{name}" for name in names)
    assert _upload(bucket, folder, None).other_forms == tuple(f"data/{name}.gz" for name in names)


def test_the_compressed_bytes_contain_neither_name_nor_time(tmp_path: Path) -> None:
    compressor = Compressor(Compression.GZIP, DigestCache(), tmp_path)
    (tmp_path / "secret-name.csv").write_bytes(b"lap")
    source = DigestCache().digest_of(tmp_path / "secret-name.csv")
    with compressor.compressed(tmp_path / "secret-name.csv", source) as compressed:
        content = compressed.read_bytes()
    assert content[3:8] == bytes(5), "flags and time"
    assert gzip.GzipFile(fileobj=io.BytesIO(content)).read() == b"lap"
    assert not compressed.exists()


def test_a_file_that_changed_before_compression_is_refused(tmp_path: Path, compression: Compression) -> None:
    (tmp_path / "a.csv").write_bytes(b"lap")
    digests = open_digest_cache(load_settings())
    source = digests.digest_of(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_bytes(b"pal")
    compressor = Compressor(compression, digests, tmp_path / "scratch")
    with pytest.raises(FileChangedError, match="changed"), compressor.compressed(tmp_path / "a.csv", source):
        pass
    assert compressor.known_digest(source) is None


def test_a_full_disk_is_reported(tmp_path: Path, compression: Compression) -> None:
    (tmp_path / "a.csv").write_bytes(b"lap" * 1_000_000)
    source = DigestCache().digest_of(tmp_path / "a.csv")
    compressor = Compressor(compression, DigestCache(), tmp_path / "scratch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", _full_disk(Path.open))
        with pytest.raises(StorageFullError, match="Compressing"), compressor.compressed(tmp_path / "a.csv", source):
            pass


def _full_disk(real: Callable[..., io.IOBase]) -> Callable[..., io.IOBase]:
    """Return a ``Path.open`` that opens new files on a full device."""
    return lambda path, mode="r", *rest: real(Path("/dev/full"), "wb") if "x" in mode else real(path, mode, *rest)
