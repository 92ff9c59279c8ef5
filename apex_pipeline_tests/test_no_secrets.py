"""The repository contains no secrets, and a user's secrets are never printed, logged or stored."""

import re
import shutil
import subprocess
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from apex_pipeline.demo import WeekendOptions, make_weekend
from apex_pipeline.errors import ApexError
from apex_pipeline_tests.cli.conftest import Apex, apex
from apex_pipeline_tests.servers.seaweed import S3Bucket

__all__ = ["apex"]  # a fixture

_PROJECT = Path(__file__).resolve().parents[1]
_SECRETS: dict[str, re.Pattern[str]] = {
    "an AWS key id": re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "an AWS secret": re.compile(r"(?i)secret\w*[\"']?\s*[:=]\s*[\"']?[a-z0-9/+]{40}(?![a-z0-9/+])"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a code host token": re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-)\w{20,}"),
    "a chat token": re.compile(r"\bxox[abprs]-[\w-]{10,}"),
    "a password in a URL": re.compile(r"\b\w+://[^\s/:@{}$]+:[^\s/@{}$]+@"),
    "a value in an environment file": re.compile(r"(?m)^(?:AWS_SECRET_ACCESS_KEY|AWS_SESSION_TOKEN)=\S+$"),
}


def _found_in(text: str) -> list[str]:
    return [kind for kind, pattern in _SECRETS.items() if pattern.search(text)]


def _tracked_files() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=_PROJECT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name and (_PROJECT / name).is_file()]


@pytest.mark.req("A-095")
def test_no_file_of_the_repository_contains_a_secret() -> None:
    texts = {name: (_PROJECT / name).read_bytes().decode(errors="replace") for name in _tracked_files()}
    assert len(texts) > 100
    assert {name: kinds for name, text in texts.items() if (kinds := _found_in(text))} == {}


# Each in two pieces, so that the test above does not find them here.
@pytest.mark.parametrize(
    ("kind", "secret"),
    [
        ("an AWS key id", ("AK", "IA" + "Q" * 16)),
        ("an AWS secret", ("aws_secret_access_key = ", "'" + "aB3/" * 10 + "'")),
        ("a private key", ("-----BEGIN ", "RSA PRIVATE KEY-----")),
        ("a code host token", ("ghp", "_" + "a" * 36)),
        ("a chat token", ("xox", "b-1234567890")),
        ("a password in a URL", ("postgresql://racer:", "hunter2@db/races")),
        ("a value in an environment file", ("AWS_SECRET_ACCESS_KEY", "=short")),
    ],
)
def test_each_kind_of_secret_is_detected(kind: str, secret: tuple[str, str]) -> None:
    assert kind in _found_in(f"x = 1\n{''.join(secret)}\n")


@pytest.mark.req("A-095", "A-114")
@pytest.mark.parametrize(
    "name", [".env", "data/x.csv", "deploy_data/x.csv", "lake/x.parquet", "races.zip", ".dagster/x", ".apex/x"]
)
def test_files_that_may_contain_secrets_or_race_data_are_ignored_by_git(name: str) -> None:
    assert subprocess.run(["git", "check-ignore", "-q", name], cwd=_PROJECT, check=False).returncode == 0


def _files_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


@pytest.mark.req("A-067", "A-095", "K-21")
@pytest.mark.parametrize("kind", ["wrong", pytest.param("may not write", marks=pytest.mark.slow)])
def test_a_secret_is_not_in_the_output_or_files_of_a_run(
    s3_bucket: S3Bucket,
    tmp_path: Path,
    apex: Apex,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    server = s3_bucket.server
    make_weekend(tmp_path / "source", WeekendOptions(target_bytes=1_000_000))
    shutil.rmtree(tmp_path / "source" / "harbor_street_circuit")  # the other track is enough
    secret = "hush-hush-hush" if kind == "wrong" else str(server.reader_secret)
    own = {
        "AWS_ACCESS_KEY_ID": server.access_key_id if kind == "wrong" else str(server.reader_key_id),
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_SESSION_TOKEN": "",
    }
    for name, value in {**s3_bucket.environment, **own}.items():
        monkeypatch.setenv(name, value)
    printed: list[str] = []
    # The traceback printed with APEX_DEBUG must not contain it either.
    for debug, words in ("", "doctor source"), ("", "sync source"), ("1", "sync source --json"):
        monkeypatch.setenv("APEX_DEBUG", debug)
        try:
            done = apex(*words.split())
        except ApexError as error:  # with APEX_DEBUG: Python prints it
            printed += [*capsys.readouterr(), *traceback.format_exception(error)]
        else:
            printed += [done.out, done.error]
            assert done.code or words == "doctor source"
    everything = "".join(printed).encode() + b"".join(path.read_bytes() for path in _files_below(tmp_path))
    assert b"AWS_ACCESS_KEY_ID" in everything
    assert secret.encode() not in everything
    # Only a run reveals a missing permission, and the run's records must be among the searched files.
    has_runs = any(path.is_relative_to(tmp_path / ".dagster") for path in _files_below(tmp_path))
    assert has_runs is (kind == "may not write")
