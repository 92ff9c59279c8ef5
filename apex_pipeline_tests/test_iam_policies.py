"""The policies in ``deploy/iam`` are well formed and allow exactly the operations that each role uses.

Every role does its work on a real server while the S3 operations are recorded; a table maps operations to IAM actions.
"""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from apex_pipeline.catalog import Catalog
from apex_pipeline.export.links import PUBLIC_PREFIX
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store
from apex_pipeline_tests.catalog.race_lake import SESSION, TRACK, publish_race
from apex_pipeline_tests.servers.seaweed import S3Bucket

pytestmark = pytest.mark.req("A-091", "A-092", "A-093", "A-094")

_PROJECT = Path(__file__).resolve().parents[1]
_IAM = _PROJECT / "deploy" / "iam"
_ROLES = ("reader", "uploader", "pipeline")
_BUCKET_ACTIONS = {"s3:ListBucket", "s3:ListBucketMultipartUploads"}
# The IAM actions of each operation; several operations share one action.
_REQUIRED_ACTIONS: dict[str, set[str]] = {
    "ListObjectsV2": {"s3:ListBucket"},
    "HeadBucket": {"s3:ListBucket"},
    "HeadObject": {"s3:GetObject"},
    "GetObject": {"s3:GetObject"},
    "PutObject": {"s3:PutObject"},
    "CreateMultipartUpload": {"s3:PutObject"},
    "UploadPart": {"s3:PutObject"},
    "CompleteMultipartUpload": {"s3:PutObject"},
    "ListParts": {"s3:ListMultipartUploadParts"},
    "ListMultipartUploads": {"s3:ListBucketMultipartUploads"},
    "AbortMultipartUpload": {"s3:AbortMultipartUpload"},
    "CopyObject": {"s3:GetObject", "s3:PutObject"},
    "UploadPartCopy": {"s3:GetObject", "s3:PutObject"},
    "DeleteObject": {"s3:DeleteObject"},
}
# The guide creates the bucket by hand; ALLOW_CREATE_BUCKET is for self-hosted servers.
_ALLOWED_TO_NO_ROLE = {"CreateBucket"}
_LARGE = 20 * 1024 * 1024


def _policy(name: str) -> dict[str, Any]:
    return json.loads((_IAM / f"{name}.json").read_text())


def _statements(name: str) -> list[dict[str, Any]]:
    return _policy(name)["Statement"]


def _allowed(role: str) -> set[str]:
    return {action for statement in _statements(role) for action in statement["Action"]}


@pytest.mark.parametrize("role", _ROLES)
def test_a_role_may_list_the_bucket_and_otherwise_only_access_its_objects(role: str) -> None:
    for statement in _statements(role):
        assert set(statement) == {"Sid", "Effect", "Action", "Resource"}
        assert statement["Effect"] == "Allow"
        is_for_bucket = set(statement["Action"]) <= _BUCKET_ACTIONS
        assert is_for_bucket or not _BUCKET_ACTIONS & set(statement["Action"])
        assert statement["Resource"] == "arn:aws:s3:::BUCKET" + ("" if is_for_bucket else "/*")


@pytest.mark.parametrize("path", sorted(_IAM.glob("*.json")), ids=lambda path: path.stem)
def test_no_policy_allows_everything_or_has_unknown_placeholders(path: Path) -> None:
    text = path.read_text()
    assert "*" not in re.sub(r'"arn:aws:s3:::BUCKET(/public)?/\*"|"Principal": "\*"', "", text)
    assert set(re.findall(r"\b[A-Z]{5,}\b", text)) <= {"BUCKET", "ACCOUNT", "DISTRIBUTION", "REGION", "SECRET"}
    content = json.loads(text)
    assert ("Rules" in content) is (path.stem == "bucket-lifecycle")
    assert content.get("Version", "2012-10-17") == "2012-10-17"


def test_each_role_includes_the_permissions_of_the_lesser_one() -> None:
    assert _allowed("reader") < _allowed("uploader") < _allowed("pipeline")
    assert _allowed("pipeline") - _allowed("uploader") == {"s3:DeleteObject"}


@pytest.mark.req("K-01", "A-101")
def test_only_objects_under_public_are_readable_by_anyone_or_cloudfront() -> None:
    for name in ("bucket-policy-public", "bucket-policy-cloudfront"):
        (statement,) = _statements(name)
        assert statement["Action"] == ["s3:GetObject"]
        assert statement["Resource"] == "arn:aws:s3:::BUCKET/public/*"
    (statement,) = _statements("bucket-policy-cloudfront")
    assert statement["Principal"] == {"Service": "cloudfront.amazonaws.com"}
    assert "AWS:SourceArn" in statement["Condition"]["StringEquals"]


@pytest.mark.req("A-101")
def test_the_bucket_policy_denies_writes_of_all_other_users() -> None:
    (statement,) = _statements("bucket-policy-writers")
    assert statement["Effect"] == "Deny"
    assert set(statement["Action"]) == {"s3:PutObject", "s3:DeleteObject"}
    users = statement["Condition"]["ArnNotEquals"]["aws:PrincipalArn"]
    assert [user.rpartition("/")[2] for user in users] == ["apex-uploader", "apex-pipeline"]


def test_a_server_accepts_the_lifecycle_rule_and_the_public_policy(s3_bucket: S3Bucket) -> None:
    rules = _policy("bucket-lifecycle")
    assert rules["Rules"][0]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    s3_bucket.client.put_bucket_lifecycle_configuration(
        Bucket=s3_bucket.name,
        LifecycleConfiguration=rules,  # pyright: ignore[reportArgumentType]  -- read from the file as JSON
    )
    policy = json.dumps(_policy("bucket-policy-public")).replace("BUCKET", s3_bucket.name)
    s3_bucket.client.put_bucket_policy(Bucket=s3_bucket.name, Policy=policy)
    stored = s3_bucket.client.get_bucket_policy(Bucket=s3_bucket.name)["Policy"]
    assert json.loads(stored)["Statement"][0]["Resource"] == f"arn:aws:s3:::{s3_bucket.name}/public/*"


@pytest.fixture
def operations(s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> tuple[ObjectStore, set[str]]:
    """The configured lake, and the names of the operations sent to it from now on."""
    for name, value in s3_bucket.environment.items():
        monkeypatch.setenv(name, value)
    store = open_store(load_settings(), for_writing=True)
    names: set[str] = set()

    def record(event_name: str, **_: object) -> None:
        names.add(event_name.rpartition(".")[2])

    vars(store)["_connection"].client.meta.events.register("before-send.s3", record)
    return store, names


def _read(store: ObjectStore) -> None:
    """Do the work of an application: look up, list, share, and read objects and ranges."""
    store.check_access()
    catalog = Catalog(store)
    car = str(catalog.cars(TRACK, SESSION)["vehicle_id"].iloc[0])
    catalog.telemetry(TRACK, SESSION, vehicle_id=car, lap_number=1, channels=["speed_kph"])
    keys = [stored.key for stored in store.list()]
    assert store.head(keys[0]) is not None
    assert store.read_head(keys[0], 4)
    for open_object in (store.open_as_file, store.open_stream, store.open_seekable):
        with open_object(keys[0]):
            pass
    store.presigned_url(keys[0], 60)


def _upload(store: ObjectStore, folder: Path) -> None:
    """Do the work of a copy: small files, multipart uploads, one that is resumed, and one that is aborted."""
    large = folder / "large.csv"
    large.write_bytes(b"0123456789abcdef" * (_LARGE // 16))
    store.write_bytes("data/small.csv", b"lap")
    store.write_file("data/large.csv", large)
    _upload_until_killed(large)
    assert store.incomplete_uploads()
    store.write_file("data/killed.csv", large)
    assert store.read_head("data/killed.csv", 4) == b"0123"
    _upload_until_killed(large)
    for upload in store.incomplete_uploads():
        store.abort(upload)
    assert not store.incomplete_uploads()


def _upload_until_killed(path: Path) -> None:
    """Upload a file to ``data/killed.csv`` in another process that is killed after some 8 MiB."""
    program = (
        "import os, pathlib, sys, time\n"
        "from apex_pipeline.settings import load_settings\n"
        "from apex_pipeline.storage.factory import open_store\n"
        "sent = []\n"
        "def die(count):\n"
        "    sent.append(count)\n"
        "    if sum(sent) > 9 * 1024 * 1024:\n"
        "        time.sleep(1)  # lets the first part arrive\n"
        "        os.kill(os.getpid(), 9)\n"
        "store = open_store(load_settings(), for_writing=True)\n"
        "store.write_file('data/killed.csv', pathlib.Path(sys.argv[1]), progress=die)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(path)], timeout=600, check=False)
    assert ended.returncode == -signal.SIGKILL


def _run(store: ObjectStore, folder: Path) -> None:
    """Do the work of a sync and of ``apex gc``: upload, copy and delete."""
    _upload(store, folder)
    store.copy("data/small.csv", "history/small.csv")
    store.delete("history/small.csv")


def _work(role: str, store: ObjectStore, folder: Path) -> None:
    _read(store)
    if role == "uploader":
        _upload(store, folder)
    if role == "pipeline":
        _run(store, folder)


@pytest.mark.parametrize("role", _ROLES)
def test_a_role_is_allowed_exactly_what_its_work_requires(
    role: str, operations: tuple[ObjectStore, set[str]], tmp_path: Path
) -> None:
    store, names = operations
    publish_race(store, 1_200)
    names.clear()
    _work(role, store, tmp_path)
    assert set[str]().union(*(_REQUIRED_ACTIONS[name] for name in names)) == _allowed(role)


@pytest.mark.req("K-20")
def test_the_code_uses_only_operations_that_a_role_is_allowed() -> None:
    model = botocore.session.get_session().get_service_model("s3")
    operations = {botocore.xform_name(name): name for name in model.operation_names}
    code = "".join(path.read_text() for path in (_PROJECT / "apex_pipeline").rglob("*.py"))
    called = {operations[word] for word in re.findall(r"\b[a-z0-9_]+\b", code) if word in operations}
    # Operations that only the transfer manager calls do not appear in this project's code.
    assert called - _ALLOWED_TO_NO_ROLE <= set(_REQUIRED_ACTIONS)
    assert called & _ALLOWED_TO_NO_ROLE == {"CreateBucket"}
    assert not {"s3:CreateBucket", "s3:PutObjectAcl"} & _allowed("pipeline")


@pytest.mark.parametrize("name", ["bucket-policy-public", "bucket-policy-cloudfront"])
def test_the_public_policies_allow_reading_exactly_what_share_calls_public(name: str) -> None:
    (statement,) = _statements(name)
    assert statement["Action"] == ["s3:GetObject"]
    assert statement["Resource"] == f"arn:aws:s3:::BUCKET/{PUBLIC_PREFIX}*"
