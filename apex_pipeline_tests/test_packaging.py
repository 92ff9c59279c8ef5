"""The installed package: small, without race data, and with boto3 as the only S3 client.

The checked files are those of the build: all files in the folders named in pyproject.toml that git does not ignore.
"""

import ast
import re
import subprocess
import tomllib
import warnings
from pathlib import Path
from typing import Any

import pytest

from apex_pipeline.extras import LIBRARIES

_PROJECT = Path(__file__).resolve().parents[1]
_PYPROJECT: dict[str, Any] = tomllib.loads((_PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
_TARGETS: dict[str, Any] = _PYPROJECT["tool"]["hatch"]["build"]["targets"]
_DATA = {".csv", ".parquet", ".npy", ".deflate", ".gz", ".zst", ".zip"}
# The modules that may create an AWS client.
_CLIENT_MODULES = {"storage/s3/sessions.py"}
_SESSIONS = {"botocore.session.Session", "boto3.Session", "boto3.client", "boto3.resource"}


def _requirements() -> list[str]:
    """Return the requirements of the base and of all extras."""
    project = _PYPROJECT["project"]
    return [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]


def _files(*below: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *below],
        cwd=_PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [_PROJECT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


@pytest.mark.req("A-001")
@pytest.mark.parametrize(
    "folders", [_TARGETS["wheel"]["packages"], _TARGETS["sdist"]["include"]], ids=["wheel", "sdist"]
)
def test_the_package_is_small_and_contains_no_race_data(folders: list[str]) -> None:
    files = _files(*folders)
    assert _PROJECT / "apex_pipeline" / "definitions.py" in files
    assert sum(path.stat().st_size for path in files) < 5_000_000
    assert [path for path in files if path.suffix.lower() in _DATA] == []


@pytest.mark.req("A-002")
def test_boto3_is_required_and_no_other_s3_client() -> None:
    minimum_versions = {
        found[1]: tuple(map(int, found[2].split(".")))
        for line in _requirements()
        if (found := re.match(r"([\w-]+)>=([\d.]+)", line))
    }
    assert minimum_versions["boto3"] >= (1, 41)
    assert not {"s3fs", "minio", "aiobotocore", "smart-open"} & set(minimum_versions)


def test_every_library_of_an_extra_is_known_by_its_extra() -> None:
    names = {"dagster-webserver": "dagster_webserver", "dagster-aws": "dagster_aws"}
    base = {re.split(r"[<>=\[]", line)[0] for line in _PYPROJECT["project"]["dependencies"]}
    extras = _PYPROJECT["project"]["optional-dependencies"]
    declared = {
        extra: {name for line in lines if (name := re.split(r"[<>=\[]", line)[0]) not in {*base, "apex-pipeline"}}
        for extra, lines in extras.items()
        if extra != "all"
    }
    known = {extra: set(libraries) for extra, libraries in LIBRARIES.items()}
    assert {
        extra: {names.get(name, name.replace("-", "_")) for name in lines} for extra, lines in declared.items()
    } == known


def test_the_extra_all_contains_every_other_one() -> None:
    extras = _PYPROJECT["project"]["optional-dependencies"]
    assert extras["all"] == [f"apex-pipeline[{','.join(sorted(extras.keys() - {'all'}))}]"]


def test_a_wheel_contains_what_is_read_at_run_time() -> None:
    names = {path.relative_to(_PROJECT).as_posix() for path in _files("apex_pipeline")}
    assert {"apex_pipeline/py.typed", "apex_pipeline/orchestration/workspace.yaml"} <= names


@pytest.mark.req("A-002", "A-011")
def test_aws_sessions_are_created_in_one_module_only() -> None:
    creators: set[str] = set()
    for path in _files("apex_pipeline/*.py"):
        calls = (node.func for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Call))
        if any(ast.unparse(call) in _SESSIONS for call in calls):
            creators.add(path.relative_to(_PROJECT / "apex_pipeline").as_posix())
    assert creators == _CLIENT_MODULES


@pytest.mark.req("A-159")
def test_every_python_file_compiles_without_warnings() -> None:
    files = _files("*.py")
    assert len(files) > 100
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in files:
            compile(path.read_bytes(), str(path), "exec")
