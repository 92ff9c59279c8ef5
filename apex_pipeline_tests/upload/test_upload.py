"""The upload function: every file keeps its path, only changes are sent, and a failed file does not stop others."""

import logging
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from apex_pipeline.errors import (
    ConfigurationError,
    SourceError,
    StoreAuthError,
    StoreConfigError,
    StorePermissionError,
)
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.upload import UploadEvent, UploadReport, UploadStatus, upload_directory_to_s3, upload_folder
from apex_pipeline_tests.servers.seaweed import S3Bucket
from apex_pipeline_tests.upload.conftest import RequestRecorder


def _paths(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _failures(report: UploadReport) -> dict[str, str]:
    return {file.path: str(file.problem) for file in report.of(UploadStatus.FAILED)}


@pytest.mark.req("A-040", "A-041", "A-044", "K-22", "A-152")
def test_a_nested_folder_keeps_its_paths_and_content(
    bucket: S3Bucket, tmp_path: Path, content_of: Callable[[str], bytes]
) -> None:
    root = tmp_path / "tree"
    for number in range(50):
        path = root / f"track {number % 3}" / f"R{number % 2}" / f"file_{number}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"lap,value\n1,{number}\n".encode())
    report = upload_directory_to_s3(str(root), bucket.name, "data")
    assert report
    assert report.exit_code == 0
    assert report.address == f"s3://{bucket.name}/data"
    assert bucket.object_keys() == [f"data/{path}" for path in _paths(root)]
    assert all(content_of(f"data/{path}") == (root / path).read_bytes() for path in _paths(root))
    assert report.summary.startswith("50 succeeded, 0 failed (50 uploaded, 0 unchanged, ")


@pytest.mark.req("A-040")
def test_files_other_than_race_files_are_uploaded_too(bucket: S3Bucket, folder: Path) -> None:
    assert upload_directory_to_s3(folder, bucket.name, "data")
    assert bucket.object_keys() == [f"data/{path}" for path in _paths(folder)]


@pytest.mark.parametrize(("prefix", "start"), [("", ""), ("data/", "data/"), ("/races/2025/", "races/2025/")])
def test_slashes_around_the_prefix_make_no_difference(bucket: S3Bucket, folder: Path, prefix: str, start: str) -> None:
    assert upload_directory_to_s3(folder, bucket.name, prefix)
    assert bucket.object_keys() == sorted(start + path for path in _paths(folder))


@pytest.mark.parametrize("prefix", ["../out", "data//x", "a\\b", "x" * 1025])
def test_an_invalid_prefix_is_refused_before_anything_is_sent(
    bucket: S3Bucket, folder: Path, recorder: RequestRecorder, prefix: str
) -> None:
    with pytest.raises(ConfigurationError, match="is not a valid key prefix"):
        upload_directory_to_s3(folder, bucket.name, prefix)
    assert recorder.writes == 0


@pytest.mark.req("A-049")
def test_a_second_upload_writes_nothing(bucket: S3Bucket, folder: Path, recorder: RequestRecorder) -> None:
    assert upload_directory_to_s3(folder, bucket.name, "data")
    assert recorder.head_requests == 0, "the listing shows that all files are new"
    recorder.requests.clear()
    os.utime(folder / "photo.jpg")
    report = upload_directory_to_s3(folder, bucket.name, "data")
    assert report
    assert report.summary == "5 succeeded, 0 failed (0 uploaded, 5 unchanged, 0 bytes sent)"
    # One request checks the bucket, one lists it; the digests were cached when the objects were written.
    assert [name for name, _ in recorder.requests] == ["ListObjectsV2"] * 2


@pytest.mark.req("A-049")
def test_objects_uploaded_by_another_machine_are_checked_once(
    bucket: S3Bucket, folder: Path, recorder: RequestRecorder
) -> None:
    assert upload_directory_to_s3(folder, bucket.name, "data")
    shutil.rmtree(".apex")
    recorder.requests.clear()
    assert upload_directory_to_s3(folder, bucket.name, "data")
    assert (recorder.writes, recorder.head_requests) == (0, 5)
    recorder.requests.clear()
    assert upload_directory_to_s3(folder, bucket.name, "data")
    assert (recorder.writes, recorder.head_requests) == (0, 0)


@pytest.mark.req("A-049")
def test_an_object_replaced_by_one_of_the_same_size_is_uploaded_again(
    bucket: S3Bucket, folder: Path, content_of: Callable[[str], bytes]
) -> None:
    for _ in range(2):
        assert upload_directory_to_s3(folder, bucket.name, "data")
    bucket.client.put_object(Bucket=bucket.name, Key="data/photo.jpg", Body=b"abc")
    assert upload_directory_to_s3(folder, bucket.name, "data").summary.startswith("5 succeeded, 0 failed (1 uploaded")
    assert content_of("data/photo.jpg") == b"\xff\xd8\xff"


@pytest.mark.req("A-048")
def test_credentials_that_expire_during_head_requests_stop_the_upload(
    bucket: S3Bucket, folder: Path, recorder: RequestRecorder
) -> None:
    upload_directory_to_s3(folder, bucket.name, "data")
    shutil.rmtree(".apex")  # the digests cached when the objects were written
    recorder.requests.clear()
    recorder.refuse("HeadObject", 403, "ExpiredToken")
    report = upload_directory_to_s3(folder, bucket.name, "data")
    assert report.exit_code == 2
    assert report.stopped_by is not None
    assert recorder.writes == 0


class _Interrupting:
    """Interrupts the upload at the second file, before most others have started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chunks = 0
        self._is_interrupted = threading.Event()

    def on_bytes(self, count: int) -> None:
        with self._lock:
            self._chunks += count > 0
            must_wait = self._chunks > 2
        if must_wait:
            self._is_interrupted.wait(30)

    def on_event(self, event: UploadEvent) -> None:
        if event.number > 1:
            self._is_interrupted.set()
            raise KeyboardInterrupt(f"{event.number} of {event.total}")


def test_no_new_file_starts_after_an_interruption(tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for number in range(300):
        (tmp_path / "many" / f"{number}.csv").write_bytes(b"x")
    store = LocalStore(tmp_path / "lake", DigestCache())
    interrupting = _Interrupting()
    with pytest.raises(KeyboardInterrupt):
        upload_folder(
            tmp_path / "many",
            store,
            "data",
            digests=DigestCache(),
            listener=interrupting.on_event,
            progress=interrupting.on_bytes,
        )
    assert len(list(store.list())) < 100


@pytest.mark.req("A-049")
@pytest.mark.parametrize("content", [b"\xff\xd8\xfe", b"\xff\xd8\xff\xff"], ids=["same size", "other size"])
def test_a_changed_file_is_the_only_one_written(
    bucket: S3Bucket, folder: Path, recorder: RequestRecorder, content_of: Callable[[str], bytes], content: bytes
) -> None:
    upload_directory_to_s3(folder, bucket.name, "data")
    recorder.requests.clear()
    before = (folder / "photo.jpg").stat()
    (folder / "photo.jpg").write_bytes(content)
    os.utime(folder / "photo.jpg", ns=(before.st_atime_ns, before.st_mtime_ns - 86_400_000_000_000))
    report = upload_directory_to_s3(folder, bucket.name, "data")
    assert recorder.writes == 1
    assert [file.path for file in report.of(UploadStatus.UPLOADED)] == ["photo.jpg"]
    assert content_of("data/photo.jpg") == content


@pytest.mark.req("A-049")
def test_an_object_of_the_same_size_from_another_tool_is_replaced(
    bucket: S3Bucket, folder: Path, content_of: Callable[[str], bytes]
) -> None:
    bucket.client.put_object(Bucket=bucket.name, Key="data/photo.jpg", Body=b"abc")
    assert upload_directory_to_s3(folder, bucket.name, "data")
    assert content_of("data/photo.jpg") == b"\xff\xd8\xff"


@pytest.mark.req("A-047", "A-078")
def test_a_file_that_fails_does_not_stop_the_others(
    bucket: S3Bucket, tmp_path: Path, recorder: RequestRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "ten"
    root.mkdir()
    for number in range(10):
        (root / f"{number}.csv").write_bytes(b"x")
    recorder.refuse("PutObject", 413, "EntityTooLarge", "/3.csv", "/7.csv")
    with caplog.at_level(logging.INFO, logger="apex_pipeline.upload"):
        report = upload_directory_to_s3(root, bucket.name, "data")
    assert not report
    assert report.exit_code == 1
    assert report.summary.startswith("8 succeeded, 2 failed")
    assert bucket.object_keys() == [f"data/{number}.csv" for number in (0, 1, 2, 4, 5, 6, 8, 9)]
    assert {path: "larger than the store allows" in problem for path, problem in _failures(report).items()} == {
        "3.csv": True,
        "7.csv": True,
    }
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [next(name for name in ("3.csv", "7.csv") if name in error) for error in sorted(errors)]
    assert len(errors) == 2
    recorder.refuse_nothing()
    recorder.requests.clear()
    assert upload_directory_to_s3(root, bucket.name, "data")
    assert recorder.writes == 2


@pytest.mark.req("A-047", "A-061")
@pytest.mark.parametrize(
    ("name", "shown", "reason"),
    [
        ("line\nbreak.csv", "line\\nbreak.csv", "control character"),
        ("a\\b.csv", "a\\b.csv", "backslash"),
        ("\udcff.csv", "\\udcff.csv", "Unicode"),
    ],
)
def test_a_file_with_an_unsafe_name_is_refused_and_the_others_are_uploaded(
    bucket: S3Bucket, folder: Path, name: str, shown: str, reason: str
) -> None:
    good = _paths(folder)
    (folder / name).write_bytes(b"x")
    report = upload_directory_to_s3(folder, bucket.name, "data")
    assert [*_failures(report)] == [shown]
    assert reason in _failures(report)[shown]
    assert bucket.object_keys() == [f"data/{path}" for path in good]


def test_links_out_of_the_folder_and_special_files_are_reported_and_not_read(
    bucket: S3Bucket, folder: Path, tmp_path: Path
) -> None:
    good = _paths(folder)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("s3cr3t")
    (folder / "out.csv").symlink_to(tmp_path / "secret" / "key")
    (folder / "broken.csv").symlink_to(folder / "nowhere")
    (folder / "linked").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "pipe.csv")
    report = upload_directory_to_s3(folder, bucket.name, "data")
    assert report.exit_code == 1
    assert {path: problem.split(". ")[0] for path, problem in _failures(report).items()} == {
        "broken.csv": "Not uploaded: it is a broken link",
        "linked": "Not uploaded: it is a link to a folder",
        "out.csv": "Not uploaded: it is a link that points outside the source folder",
        "pipe.csv": "Not uploaded: it is a pipe, a socket or a device",
    }
    assert bucket.object_keys() == [f"data/{path}" for path in good]


def test_an_unreadable_file_is_reported(bucket: S3Bucket, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).name != "photo.jpg")  # root can read every file
    report = upload_directory_to_s3(folder, bucket.name, "data")
    assert [*_failures(report)] == ["photo.jpg"]
    assert "no permission" in _failures(report)["photo.jpg"]


@pytest.mark.parametrize("make", [lambda _: None, Path.mkdir, Path.touch])
def test_a_missing_or_empty_folder_or_a_file_is_an_error(
    bucket: S3Bucket, tmp_path: Path, make: Callable[[Path], object]
) -> None:
    make(tmp_path / "source")
    with pytest.raises(SourceError, match="source"):
        upload_directory_to_s3(tmp_path / "source", bucket.name, "data")


@pytest.mark.req("A-048")
@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_stop_the_upload_before_the_first_write(
    bucket: S3Bucket, folder: Path, recorder: RequestRecorder, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "unknown")
    with pytest.raises(StoreAuthError):
        upload_directory_to_s3(folder, bucket.name, "data")
    assert recorder.writes == 0


@pytest.mark.req("K-20")
@pytest.mark.parametrize("may_create", ["false", "true"])
def test_a_missing_bucket_is_created_only_if_allowed(
    bucket: S3Bucket, folder: Path, monkeypatch: pytest.MonkeyPatch, may_create: str
) -> None:
    monkeypatch.setenv("ALLOW_CREATE_BUCKET", may_create)
    missing = f"{bucket.name}-new"
    if may_create == "true":
        assert upload_directory_to_s3(folder, missing, "data")
        for path in _paths(folder):
            bucket.client.delete_object(Bucket=missing, Key=f"data/{path}")
        bucket.client.delete_bucket(Bucket=missing)
    else:
        with pytest.raises(StoreConfigError, match="no such bucket"):
            upload_directory_to_s3(folder, missing, "data")


@pytest.mark.req("A-042", "A-048", "K-01", "K-06")
@pytest.mark.parametrize(
    ("status", "code", "error", "requests"),
    [
        (400, "AccessControlListNotSupported", StoreConfigError, 1),
        # A store may refuse a checksum with this code, so the first object is sent once more without one.
        (403, "AccessDenied", StorePermissionError, 2),
        (403, "ExpiredToken", StoreAuthError, 1),
    ],
)
def test_an_error_that_affects_every_file_occurs_only_once(
    bucket: S3Bucket,
    folder: Path,
    recorder: RequestRecorder,
    status: int,
    code: str,
    error: type[Exception],
    requests: int,
) -> None:
    recorder.refuse("PutObject", status, code)
    report = upload_directory_to_s3(folder, bucket.name, "data")
    assert isinstance(report.stopped_by, error)
    assert report.exit_code == 2
    assert len(recorder.headers_of("PutObject")) == requests
    assert report.summary.startswith("0 succeeded, 1 failed, 4 not tried")


@pytest.mark.req("A-042", "K-01")
@pytest.mark.parametrize("acl", [None, "public-read"])
def test_an_acl_is_sent_only_if_one_is_set(
    bucket: S3Bucket, folder: Path, recorder: RequestRecorder, monkeypatch: pytest.MonkeyPatch, acl: str | None
) -> None:
    if acl:
        monkeypatch.setenv("S3_OBJECT_ACL", acl)
    assert upload_directory_to_s3(folder, bucket.name, "data")
    assert [headers.get("x-amz-acl") for headers in recorder.headers_of("PutObject")] == [acl] * len(_paths(folder))
