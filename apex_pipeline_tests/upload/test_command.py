"""``apex upload`` and ``main()`` for people and scheduled jobs: choice of the bucket, exit codes, and no hangs."""

import io
import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from apex_pipeline import upload
from apex_pipeline.cli import main as apex_main
from apex_pipeline_tests.servers.seaweed import S3Bucket
from apex_pipeline_tests.upload.conftest import RequestRecorder

_PROJECT = Path(__file__).resolve().parents[2]
Run = Callable[..., "Output"]


class Output:
    """The output of a command, and its exit code."""

    def __init__(self, code: object, out: str, error: str) -> None:
        self.code = code
        self.out = out
        self.error = error


@pytest.fixture
def apex(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command as a user would."""

    def run(*arguments: str, program: Callable[[], None] = apex_main) -> Output:
        monkeypatch.setattr("sys.argv", ["apex", *arguments])
        with pytest.raises(SystemExit) as ended:
            program()
        captured = capsys.readouterr()
        return Output(ended.value.code or 0, captured.out, captured.err)

    return run


@pytest.mark.req("A-040", "A-043", "A-049")
def test_a_log_gets_the_totals_and_a_second_run_uploads_nothing(bucket: S3Bucket, folder: Path, apex: Run) -> None:
    output = apex("upload", str(folder), "--bucket", bucket.name)
    assert output.code == 0
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert output.out.splitlines() == [
        f"5 files, {size:,} bytes",
        f"s3://{bucket.name}/data: 5 succeeded, 0 failed (5 uploaded, 0 unchanged, {size:,} bytes sent)",
    ]
    assert "0 uploaded, 5 unchanged" in apex("upload", str(folder), "--bucket", bucket.name).out


def test_nothing_is_imported_that_copying_does_not_need(bucket: S3Bucket, folder: Path) -> None:
    environment = {**bucket.environment, "PYTHONPATH": str(_PROJECT), "APEX_STATE_DIR": str(folder.parent / "state")}
    command = [sys.executable, "-X", "importtime", "-m", "apex_pipeline", "upload", str(folder)]
    process = subprocess.run(command, env=environment, cwd=folder.parent, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in process.stderr.splitlines()}
    assert {"botocore.client", "urllib3", "typer"} <= imported
    heavy = {"boto3", "dagster", "numba", "numpy", "pandas", "pyarrow", "rich.console", "rich.progress", "s3transfer"}
    assert imported.isdisjoint(heavy)


@pytest.mark.req("A-043")
def test_json_output_is_one_object_per_line(bucket: S3Bucket, folder: Path, apex: Run) -> None:
    lines = apex("upload", str(folder), "--bucket", bucket.name, "--prefix", "raw", "--json").out.splitlines()
    *files, report = map(json.loads, lines)
    assert {file["key"] for file in files} == set(bucket.object_keys())
    assert report["uploaded"] == 5
    assert report["address"] == f"s3://{bucket.name}/raw"


@pytest.mark.req("A-047", "A-152")
def test_a_failed_file_is_printed_with_its_reason_and_exits_with_1(
    bucket: S3Bucket, folder: Path, apex: Run, recorder: RequestRecorder
) -> None:
    recorder.refuse("PutObject", 413, "EntityTooLarge", "/photo.jpg")
    output = apex("upload", str(folder), "--bucket", bucket.name)
    assert output.code == 1
    assert "4 succeeded, 1 failed" in output.out
    assert output.out.splitlines()[-1].startswith("photo.jpg: Writing s3://")
    assert "Split the file." in output.out.splitlines()[-1]


@pytest.mark.req("A-042", "K-01")
def test_a_bucket_without_acls_is_reported_once_with_the_alternative(
    bucket: S3Bucket, folder: Path, apex: Run, recorder: RequestRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_OBJECT_ACL", "public-read")
    recorder.refuse("PutObject", 400, "AccessControlListNotSupported")
    output = apex("upload", str(folder), "--bucket", bucket.name)
    assert output.code == 2
    assert recorder.writes == 1
    assert output.out.count("FAILED") == 1
    assert (
        "Stopped, because every other file would have failed the same way. Make objects public with a bucket"
        in output.out
    )


@pytest.mark.req("A-045")
@pytest.mark.parametrize("set_in", ["environment", ".env"])
def test_the_bucket_in_the_settings_is_used(
    bucket: S3Bucket, folder: Path, apex: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, set_in: str
) -> None:
    if set_in == "environment":
        monkeypatch.setenv("S3_BUCKET_NAME", bucket.name)
    else:
        (tmp_path / ".env").write_text(f"S3_BUCKET_NAME={bucket.name}\nAPEX_LAKE_PREFIX=lakes/one\n")
    monkeypatch.setenv("APEX_SOURCE_DIR", str(folder))
    assert apex(program=upload.main).code == 0
    start = "data/" if set_in == "environment" else "lakes/one/data/"
    assert all(key.startswith(start) for key in bucket.object_keys())
    assert len(bucket.object_keys()) == 5


@pytest.mark.req("A-045", "A-077")
@pytest.mark.parametrize("program", [apex_main, upload.main])
def test_without_a_bucket_and_a_terminal_it_exits_with_instructions(folder: Path, program: Callable[[], None]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"from {program.__module__} import main; main()", "upload", str(folder)],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        env={"PYTHONPATH": str(_PROJECT), "PATH": os.environ["PATH"]},
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for words in ("No bucket is set", "S3_BUCKET_NAME", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert words in done.stderr


def _run_on_terminal(answer: bytes, command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Run a command on a pseudo-terminal, type an answer, and return its exit code and its output."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    shown: list[bytes] = []

    def read() -> None:
        with suppress(OSError):  # the other end was closed
            while content := os.read(controller, 65_536):
                shown.append(content)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        os.write(controller, answer)
        code = process.wait(timeout=600)
    finally:
        process.kill()
        process.wait()
        reader.join(timeout=60)
        os.close(controller)
    return code, b"".join(shown).decode()


@pytest.mark.req("A-043", "A-045", "A-077")
@pytest.mark.parametrize("program", ["apex_pipeline", "apex_pipeline.upload"])
def test_the_bucket_is_prompted_for_on_a_terminal(bucket: S3Bucket, folder: Path, program: str) -> None:
    names = ("S3_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    environment = {name: bucket.environment[name] for name in names} | {
        "PYTHONPATH": str(_PROJECT),
        "APEX_SOURCE_DIR": str(folder),
        "PATH": os.environ["PATH"],
        "COLUMNS": "200",
        "TERM": "xterm",
        "PYTHONUTF8": "1",
    }
    arguments = ["upload"] if program == "apex_pipeline" else []
    code, shown = _run_on_terminal(
        f"{bucket.name}\n".encode(), [sys.executable, "-m", program, *arguments], environment
    )
    assert code == 0, shown
    assert "Name of the bucket to upload to: " in shown
    assert "\N{WHITE HEAVY CHECK MARK} uploaded photo.jpg" in shown
    assert len(bucket.object_keys()) == 5


@pytest.mark.req("A-045")
def test_an_empty_answer_on_a_terminal_exits_with_instructions(folder: Path) -> None:
    environment = {"PYTHONPATH": str(_PROJECT), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-m", "apex_pipeline", "upload", str(folder)]
    code, shown = _run_on_terminal(b"\n", command, environment)
    assert code == 2
    assert "No bucket name was entered." in shown
    assert "Traceback" not in shown


class _Terminal(io.StringIO):
    """Standard input that is a terminal, with this text typed."""

    def isatty(self) -> bool:
        return True


@pytest.mark.req("A-045")
@pytest.mark.parametrize("program", [apex_main, upload.main])
@pytest.mark.parametrize("has_answer", [True, False])
def test_the_typed_answer_is_the_bucket(
    bucket: S3Bucket,
    folder: Path,
    apex: Run,
    monkeypatch: pytest.MonkeyPatch,
    program: Callable[[], None],
    *,
    has_answer: bool,
) -> None:
    monkeypatch.setenv("APEX_SOURCE_DIR", str(folder))
    monkeypatch.setattr("sys.stdin", _Terminal(f"  {bucket.name} \n" if has_answer else ""))
    output = apex("upload", program=program)
    assert "Name of the bucket to upload to: " in output.error
    assert "Name of the bucket" not in output.out
    assert (output.code, len(bucket.object_keys())) == ((0, 5) if has_answer else (2, 0))


@pytest.mark.req("A-046")
def test_without_credentials_nothing_is_sent_and_the_variables_are_listed(
    bucket: S3Bucket, folder: Path, apex: Run, recorder: RequestRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    output = apex("upload", str(folder), "--bucket", bucket.name)
    assert output.code == 2
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "S3_BUCKET_NAME", "AWS_REGION"):
        assert name in output.error
    assert "Traceback" not in output.error
    assert recorder.writes == 0


@pytest.mark.req("A-048")
def test_a_wrong_secret_exits_with_2_and_writes_nothing(
    bucket: S3Bucket, folder: Path, apex: Run, recorder: RequestRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    output = apex("upload", str(folder), "--bucket", bucket.name)
    assert output.code == 2
    assert "the secret does not belong to the access key" in output.error
    assert "not-the-secret" not in output.error + output.out
    assert recorder.writes == 0


def test_upload_does_not_import_dagster() -> None:
    program = "import sys, apex_pipeline.upload, apex_pipeline.upload.command; sys.exit('dagster' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(_PROJECT)}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0
