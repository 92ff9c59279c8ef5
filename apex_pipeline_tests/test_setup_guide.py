"""The setup guide: its commands work, its names exist, and its error messages are the ones the program prints.

Every ``sh`` block is executed in the order of the guide against a real S3 server: in this process, but for a line that
needs a shell. The ``console`` blocks are executed too, with a fake ``aws`` that records its arguments, which are then
compared with the service models of botocore.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any
from uuid import uuid4

import botocore.exceptions as botocore_errors
import botocore.session
import pytest
import yaml
from botocore.parsers import ResponseParserError

from apex_pipeline.cli import main
from apex_pipeline.errors import ApexError
from apex_pipeline.settings import environment_variables
from apex_pipeline.storage.s3.credentials import SecretsManagerKey
from apex_pipeline.storage.s3.errors import ErrorContext, translate
from apex_pipeline_tests.cli.conftest import Apex, CommandResult
from apex_pipeline_tests.cli.conftest import apex as in_process
from apex_pipeline_tests.servers.seaweed import S3Bucket, S3Server
from apex_pipeline_tests.storage.s3.harness import connect, store_of

__all__ = ["in_process"]  # a fixture

pytestmark = [pytest.mark.req("A-110")]

_PROJECT = Path(__file__).resolve().parents[1]
_GUIDE = (_PROJECT / "AWS_SETUP_GUIDE.md").read_text()
_FENCE = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_PARTS = (
    "AWS account",
    "Bucket and its permissions",
    "Users and access keys",
    "Sending the data",
    "Render",
    "Verification",
    "Cost",
    "Troubleshooting",
    "Security",
)
# Variables of AWS tools and of Render's file that are not settings of this project.
_OTHER_VARIABLES = {"AWS_PROFILE", "AWS_CA_BUNDLE", "AWS_DEFAULT_REGION", "APEX_DEBUG", "APEX_LOG_BUCKET"}
_EXAMPLE_BUCKET = "apex-racing-data"


def _blocks(language: str) -> list[str]:
    return [dedent(block) for kind, block in _FENCE.findall(_GUIDE) if kind == language]


_COMMANDS = [line for block in _blocks("sh") for line in block.splitlines()]


def test_the_guide_has_its_nine_parts_in_order() -> None:
    assert re.findall(r"^## (\d)\. (.*)$", _GUIDE, re.MULTILINE) == [
        (str(number), part) for number, part in enumerate(_PARTS, 1)
    ]
    assert len(_GUIDE.splitlines()) >= 300


@pytest.mark.req("A-097", "A-098", "A-099", "A-101", "A-120", "A-135")
@pytest.mark.parametrize(
    "topic",
    ["Changing a key", "The key in Secrets Manager", "Who wrote, who read", "What the public may see", "Monitoring"],
)
def test_the_guide_has_a_section_on(topic: str) -> None:
    assert re.search(rf"^##+ {topic}$", _GUIDE, re.MULTILINE)


def test_every_link_has_a_target() -> None:
    titles = re.findall(r"^##+ (.*)$", _GUIDE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    links = re.findall(r"\]\(([^)]+)\)", _GUIDE)
    assert len(links) > 20
    for link in links:
        assert link[1:] in anchors if link.startswith("#") else (_PROJECT / link).is_file(), link
    files = re.findall(r"\bdeploy/[\w./-]+\w", _GUIDE)
    assert [path for path in files if not (_PROJECT / path).exists()] == []


def test_every_variable_of_the_guide_is_a_setting() -> None:
    named = set(re.findall(r"\b(?:AWS|APEX|S3|DAGSTER|USE|ALLOW|PUBLIC)_[A-Z0-9_]+\b", _GUIDE))
    assert named - set(environment_variables()) <= _OTHER_VARIABLES
    in_env_files = {line.partition("=")[0] for block in _blocks("ini") for line in block.splitlines()}
    assert in_env_files <= set(environment_variables())


@pytest.mark.req("A-113")
def test_the_variables_for_render_are_in_its_file_or_optional() -> None:
    render: dict[str, Any] = yaml.safe_load((_PROJECT / "deploy" / "render.yaml").read_text())
    listed = set(re.findall(r"`([A-Z0-9]+_[A-Z0-9_]+)`", _GUIDE[_GUIDE.index("## 5.") : _GUIDE.index("## 6.")]))
    own = {entry["key"] for service in render["services"] for entry in service["envVars"] if "key" in entry}
    shared = {entry["key"]: entry["value"] for entry in render["envVarGroups"][0]["envVars"]}
    assert {"USE_S3_DATA", "S3_BUCKET_NAME", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= listed
    assert listed - own - set(shared) == {"AWS_DEFAULT_REGION", "APEX_LAKE_PREFIX", "APEX_SECRET_ID", "APEX_CACHE_DIR"}


@pytest.mark.req("A-119")
def test_the_setup_takes_at_most_45_minutes() -> None:
    rows = re.findall(r"^\| [^|]+ \| (\d+)(?:\u2013\d+)? \| \[", _GUIDE, re.MULTILINE)
    assert len(rows) == 7
    assert sum(map(int, rows)) <= 45


class Workspace:
    """A folder and environment in which the commands of the guide are run."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self.cpu_seconds = 0.0

    def run(self, command: str, apex: Apex, monkeypatch: pytest.MonkeyPatch) -> CommandResult:
        """Run a command of the guide unchanged."""
        before = _cpu_seconds()
        program, *words = shlex.split(command)
        if program == "apex":
            monkeypatch.chdir(self.folder)
            for name, value in self.environment.items():
                monkeypatch.setenv(name, value)
            done = apex(*words)
        else:
            done = self._run_in_a_shell(command)
        self.cpu_seconds += _cpu_seconds() - before
        return done

    def _run_in_a_shell(self, command: str) -> CommandResult:
        done = subprocess.run(
            ["bash", "-euc", command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
        return CommandResult(done.returncode, done.stdout, done.stderr)


def _cpu_seconds() -> float:
    """Return the processor time of this process and of the ended ones that it started."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server) -> Iterator[Workspace]:
    folder = tmp_path_factory.mktemp("guide")
    programs = folder / "programs"
    programs.mkdir()
    apex = programs / "apex"
    apex.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m apex_pipeline "$@"\n')
    apex.chmod(0o755)
    name = f"guide-{uuid4().hex[:12]}"
    client = s3_server.client()
    client.create_bucket(Bucket=name)
    bucket = S3Bucket(name, s3_server, client)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("APEX_", "AWS_", "DAGSTER_"))}
    environment = {**kept, **bucket.environment, "PYTHONPATH": str(_PROJECT), "HOME": str(folder)}
    yield Workspace(folder, {**environment, "PATH": f"{programs}:{kept['PATH']}"})
    client.close()


@pytest.mark.slow
@pytest.mark.req("A-117", "A-119", "A-120", "A-121", "A-099", "A-090", "A-127", "A-157")
@pytest.mark.parametrize("command", _COMMANDS)
def test_a_command_of_the_guide_works(
    workspace: Workspace, in_process: Apex, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    done = workspace.run(command, in_process, monkeypatch)
    assert done.code == 0, done.out[-2000:] + done.error[-2000:]
    assert "Traceback" not in done.out + done.error


@pytest.mark.slow
@pytest.mark.req("A-119")
def test_all_commands_without_aws_take_less_than_five_minutes(workspace: Workspace) -> None:
    # CPU time, because wall time depends on the machine's load.
    assert workspace.cpu_seconds < 300


# Options whose name on the command line differs from the service model.
_RENAMED = {"--notification-endpoint": "--endpoint"}
# Records its arguments; fails on files that are missing, not JSON, or still contain a placeholder.
_FAKE_AWS = """\
import json, pathlib, re, sys
with open("calls.jsonl", "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
for word in sys.argv[1:]:
    if word.startswith("file://"):
        text = pathlib.Path(word.removeprefix("file://")).read_text()
        json.loads(text)
        if left := re.search(r"\\b(BUCKET|ACCOUNT|DISTRIBUTION)\\b", text):
            sys.exit(f"{word} still contains {left[0]}")
"""


@pytest.fixture(scope="module")
def aws_calls(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """The arguments of each ``aws`` call in the ``console`` blocks, executed one after the other in one shell."""
    folder = tmp_path_factory.mktemp("aws")
    (folder / "deploy").symlink_to(_PROJECT / "deploy")
    programs = folder / "programs"
    programs.mkdir()
    for name, program in (("aws", _FAKE_AWS), ("make", "")):
        (programs / f"{name}.py").write_text(program)
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "{programs / name}.py" "$@"\n')
        (programs / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    script = "\n".join(_blocks("console"))
    done = subprocess.run(
        ["bash", "-euc", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]


def test_every_aws_call_uses_an_existing_command_and_options(aws_calls: list[list[str]]) -> None:
    session = botocore.session.get_session()
    assert len(aws_calls) == sum(line.startswith("aws ") for line in "\n".join(_blocks("console")).splitlines()) > 20
    for service, command, *rest in aws_calls:
        if service == "s3":
            assert command in {"cp", "sync", "ls"}
            continue
        model = session.get_service_model("s3" if service == "s3api" else service)
        operations = {botocore.xform_name(name, "-"): name for name in model.operation_names}
        shape: Any = model.operation_model(operations[command]).input_shape
        known = {} if shape is None else {botocore.xform_name(member, "-"): member for member in shape.members}
        options = {_RENAMED.get(word, word).removeprefix("--") for word in rest if word.startswith("--")}
        assert options <= {*known, "region"}, (service, command)
        required = {} if shape is None else shape.required_members
        assert {botocore.xform_name(name, "-") for name in required} <= options


def test_every_policy_file_is_in_the_guide() -> None:
    files = {path.name for path in (_PROJECT / "deploy" / "iam").glob("*.json")}
    assert {name for name in files if f"deploy/iam/{name}" in _GUIDE} == files


_Apex = Callable[..., str]


@pytest.fixture
def apex(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], s3_bucket: S3Bucket) -> _Apex:
    """A function that runs a command with the bucket's environment and returns its error with the guide's names."""

    def run(words: str, **changed: str) -> str:
        for name, value in {**s3_bucket.environment, **changed}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("sys.argv", ["apex", *shlex.split(words)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        printed = capsys.readouterr().err
        return printed.replace(s3_bucket.name, _EXAMPLE_BUCKET).replace(s3_bucket.server.endpoint, "AWS us-east-1")

    return run


def _heading_of(message: str) -> str:
    """Return the guide's heading for a message: the reason and its code, or the entire sentence if it has none."""
    found = re.search(r"failed: (.*?\(\w[\w :/]+\))\.", message)
    return found[1] if found else message.removeprefix("Problem: ").partition("\nNext step:")[0].strip()


_WRONG = {"AWS_SECRET_ACCESS_KEY": "wrong"}
_NO_KEYS = {
    "AWS_ACCESS_KEY_ID": "",
    "AWS_SECRET_ACCESS_KEY": "",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "none",
    "AWS_SHARED_CREDENTIALS_FILE": "none",
}
_BY_COMMAND: list[tuple[str, dict[str, str]]] = [
    ("sessions", {"AWS_ACCESS_KEY_ID": "AKIA-UNKNOWN"}),
    ("sessions", _WRONG),
    ("sessions", _NO_KEYS),
    ("sessions", {**_NO_KEYS, "AWS_PROFILE": "racing"}),
    ("sessions", {**_NO_KEYS, "AWS_WEB_IDENTITY_TOKEN_FILE": "/run/token", "AWS_ROLE_ARN": "arn:aws:iam::1:role/x"}),
    ("sessions", {"AWS_SECRET_ACCESS_KEY": ""}),
    ("sessions", {"AWS_ACCESS_KEY_ID": "writer-key\r"}),
    ("sessions", {"S3_BUCKET_NAME": "apex-none-such"}),
    ("sessions", {"S3_BUCKET_NAME": "Race Data"}),
    ("sessions", {"S3_ENDPOINT_URL": "localhost"}),
    ("sessions", {"S3_ENDPOINT_URL": "http://localhost/apex-racing-data", "S3_BUCKET_NAME": _EXAMPLE_BUCKET}),
    ("sessions", {"USE_S3_DATA": "ja"}),
    ("sessions", {}),
    ("sync data", {}),
]
_CODES = (
    "ExpiredToken",
    "AccessControlListNotSupported",
    "InvalidObjectState",
    "PermanentRedirect",
    "RequestTimeTooSkewed",
    "SlowDown",
)
_BY_ERROR: tuple[Exception, ...] = (
    *(botocore_errors.ClientError({"Error": {"Code": code}}, "ListObjectsV2") for code in _CODES),
    botocore_errors.EndpointConnectionError(endpoint_url="x"),
    botocore_errors.SSLError(endpoint_url="x", error=OSError()),
    botocore_errors.ReadTimeoutError(endpoint_url="x"),
    ResponseParserError(),
    RecursionError(),
)


def _headings() -> list[str]:
    return re.findall(r"^#### `(.*)`$", _GUIDE, re.MULTILINE)


@pytest.mark.req("A-121")
@pytest.mark.parametrize(("words", "changed"), _BY_COMMAND)
def test_the_error_of_a_command_is_a_heading_of_the_guide(apex: _Apex, words: str, changed: dict[str, str]) -> None:
    assert _heading_of(apex(words, **changed)) in _headings()


@pytest.mark.req("A-121")
def test_the_example_message_is_the_printed_one(apex: _Apex) -> None:
    assert apex("sessions", **_WRONG).strip() == _blocks("text")[0].strip()


@pytest.mark.req("A-121")
def test_the_error_for_a_missing_permission_is_in_the_guide(s3_bucket: S3Bucket) -> None:
    server = s3_bucket.server
    reader = store_of(connect(s3_bucket, key=server.reader_key_id, secret=server.reader_secret))
    with pytest.raises(ApexError) as raised:
        reader.write_bytes("data/x.csv", b"lap")
    assert _heading_of(raised.value.problem) in _headings()


@pytest.mark.req("A-098", "A-121")
def test_the_error_for_a_missing_secret_is_in_the_guide(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def get_secret_value(self, **_: object) -> None:
            raise botocore_errors.ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "GetSecretValue")

    monkeypatch.setattr(SecretsManagerKey, "_client", lambda _: Refusing())
    with pytest.raises(ApexError) as raised:
        SecretsManagerKey("apex/lake", "us-east-1").read()
    assert raised.value.problem in _headings()


def _heading_of_error(error: Exception) -> str:
    return _heading_of(translate(error, ErrorContext(_EXAMPLE_BUCKET, "AWS us-east-1", lambda: ""), "Listing").problem)


@pytest.mark.req("A-121")
@pytest.mark.parametrize("error", _BY_ERROR, ids=str)
def test_the_message_for_an_error_of_the_store_is_in_the_guide(error: Exception) -> None:
    assert _heading_of_error(error) in _headings()


@pytest.mark.req("A-121")
def test_every_message_in_the_guide_is_covered_by_these_tests() -> None:
    others = 2  # the missing permission and the missing secret
    assert len(_headings()) == len(set(_headings())) == len(_BY_COMMAND) + len(_BY_ERROR) + others
