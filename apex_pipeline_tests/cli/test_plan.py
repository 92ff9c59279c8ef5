"""``apex plan``: sends nothing, and predicts what the sync then does."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from apex_pipeline.demo import WeekendOptions, make_weekend
from apex_pipeline.orchestration.sync import sync
from apex_pipeline.settings import load_settings
from apex_pipeline.storage import leases
from apex_pipeline.storage.temp_dirs import DiskSpace
from apex_pipeline_tests.cli.conftest import Apex, use_bucket
from apex_pipeline_tests.servers.seaweed import S3Bucket

# Deleting is free, so the plan does not count it.
_READ_OPERATIONS = {"ListObjectsV2", "HeadObject", "GetObject", "DeleteObject"}


@pytest.fixture
def season(tmp_path: Path) -> Path:
    make_weekend(tmp_path / "season", WeekendOptions(target_bytes=2_000_000))
    return tmp_path / "season"


def _plan(apex: Apex, *words: str) -> dict[str, Any]:
    result = apex("plan", *words, "--json")
    assert result.code == 0
    return json.loads(result.out)


@pytest.mark.req("A-050")
def test_a_plan_sends_nothing_and_predicts_what_the_sync_sends(
    season: Path, s3_bucket: S3Bucket, apex: Apex, monkeypatch: pytest.MonkeyPatch, sent: list[str]
) -> None:
    shutil.rmtree(season / "harbor_street_circuit")  # the other track is enough: it also has a quarantined file
    use_bucket(s3_bucket, monkeypatch)
    before = _plan(apex, str(season))
    assert set(sent) <= _READ_OPERATIONS
    assert s3_bucket.object_keys() == []

    # Under load a session takes more than 20 s, after which its lease is renewed: a request that is in no plan.
    monkeypatch.setattr(leases, "_RENEWALS_PER_LIFETIME", 0.1)
    monkeypatch.setattr(leases, "_CERTAIN_SHARE", 100)
    sent.clear()
    outcome = sync(load_settings(source_dir=season), lambda _: None)
    write_requests = [name for name in sent if name not in {*_READ_OPERATIONS, "ListMultipartUploads", "ListParts"}]
    assert (before["new"]["files"], before["new"]["bytes"]) == (outcome.copied, outcome.copied_bytes)
    assert before["sessions"] == [str(key) for key in outcome.derived]
    # An upper bound: the lists of derived tables may be written in fewer requests.
    assert 0.95 * before["requests"]["put"] <= len(write_requests) <= before["requests"]["put"]
    # Only estimates: a thousand of these requests cost a tenth of a cent.
    assert sum(name in {"HeadObject", "GetObject"} for name in sent) < 2 * before["requests"]["get"]
    assert sent.count("ListObjectsV2") < 2 * before["requests"]["list"]

    sent.clear()
    after = _plan(apex, str(season))
    assert set(sent) <= _READ_OPERATIONS
    assert (after["unchanged"]["files"], after["bytes_to_copy"], after["sessions"]) == (outcome.copied, 0, [])
    assert after["requests"]["put"] == 0
    assert sent.count("ListObjectsV2") == after["requests"]["list"]


@pytest.mark.req("K-12")
def test_costs_are_shown_with_the_price_date(
    season: Path, s3_bucket: S3Bucket, apex: Apex, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_bucket(s3_bucket, monkeypatch)
    plan = _plan(apex, str(season))
    requests = plan["requests"]
    usd = (requests["put"] + requests["list"]) * 0.005 / 1000 + requests["get"] * 0.0004 / 1000
    assert plan["requests_usd"] == pytest.approx(usd)
    assert plan["storage_growth_usd_per_month"] == pytest.approx(plan["new"]["bytes"] / 2**30 * 0.023)
    assert plan["price_date"]
    result = apex("plan", str(season))
    assert f"{requests['put']:,} PUT" in result.out
    assert f"prices of {plan['price_date']}" in result.out
    assert f"{s3_bucket.server.endpoint} is not AWS" in result.out
    assert "(empty so far)" in result.out


def test_aws_prices_are_shown_without_a_remark(
    season: Path, s3_bucket: S3Bucket, apex: Apex, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_bucket(s3_bucket, monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_bucket.server.endpoint)
    monkeypatch.setattr("apex_pipeline.cli.options.load_settings", _without_endpoint)
    result = apex("plan", str(season))
    assert "prices of" in result.out
    assert "is not AWS" not in result.out


def _without_endpoint(**overrides: object) -> Any:
    return load_settings(**overrides, s3_endpoint_url=None)


@pytest.mark.req("K-20")
@pytest.mark.parametrize(
    ("allowed", "message"), [("false", "only with ALLOW_CREATE_BUCKET=true"), ("true", "creates it)")]
)
def test_a_missing_bucket_is_planned_for_but_not_created(
    season: Path, s3_bucket: S3Bucket, apex: Apex, monkeypatch: pytest.MonkeyPatch, allowed: str, message: str
) -> None:
    use_bucket(s3_bucket, monkeypatch)
    monkeypatch.setenv("S3_BUCKET_NAME", f"{s3_bucket.name}-new")
    monkeypatch.setenv("ALLOW_CREATE_BUCKET", allowed)
    result = apex("plan", str(season))
    assert result.code == 0
    assert message in result.out
    assert _plan(apex, str(season))["lake_exists"] is False
    assert [bucket.get("Name") for bucket in s3_bucket.client.list_buckets()["Buckets"]].count(
        f"{s3_bucket.name}-new"
    ) == 0


@pytest.mark.req("A-050")
def test_a_plan_for_a_local_lake_shows_disk_space_instead_of_costs(season: Path, apex: Apex) -> None:
    plan = _plan(apex, str(season))
    assert (plan["lake_exists"], plan["disk_is_enough"]) == (False, True)
    assert "requests" not in plan
    result = apex("plan", str(season))
    assert "(does not exist yet; a sync creates it)" in result.out
    assert f"free in {Path.cwd()}" in result.out
    assert "$" not in result.out
    assert not Path("lake").exists()


def test_insufficient_disk_space_is_reported(season: Path, apex: Apex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apex_pipeline.cli.plan.disk_space", lambda _: DiskSpace(Path("/mnt"), 1000))
    assert "1.0 kB free in /mnt, which is not enough" in apex("plan", str(season)).out
    assert _plan(apex, str(season))["disk_is_enough"] is False


def test_a_plan_for_an_unchanged_folder_is_empty(demo_dir: Path, apex: Apex) -> None:
    result = apex("plan", "demo-weekend")
    assert "none to derive\n" in result.out
    assert "Nothing was sent or written." in result.out
    plan = _plan(apex, "demo-weekend")
    assert (plan["new"]["files"], plan["changed"]["files"], plan["gone"]["files"]) == (0, 0, 0)
    assert plan["unchanged"]["files"] == 44


def test_changed_missing_and_unreadable_files_are_named(
    demo_dir: Path, apex: Apex, season: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APEX_LAKE_DIR", str(demo_dir / "lake"))
    for path in sorted(season.rglob("*99_Best*")) + sorted(season.rglob("*03_*")) + sorted(season.rglob("*05_*")):
        path.unlink()
    weather = season / "harbor_street_circuit" / "26_Weather_Race 1_Anonymized.CSV"
    weather.write_text(weather.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    (season / "link.csv").symlink_to("nothing")
    result = apex("plan", str(season))
    assert "Changed: 1 file\n  harbor_street_circuit/26_Weather_Race 1_Anonymized.CSV" in result.out
    assert "Not in the source, kept in the lake: 18 files" in result.out
    assert "… and 10 more; --json lists them all" in result.out
    assert "Cannot be read: 1 file\n  link.csv: it is a broken link" in result.out
    assert "Sessions  1 to derive: harbor_street_circuit/R1" in result.out
    plan = _plan(apex, str(season))
    assert plan["refused"] == [{"path": "link.csv", "reason": "it is a broken link"}]
    assert len(plan["gone"]["paths"]) == 18


def test_a_new_ignored_file_requires_a_new_catalog(
    demo_dir: Path, apex: Apex, season: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APEX_LAKE_DIR", str(demo_dir / "lake"))
    (season / "Thumbs.db").write_bytes(b"x")
    assert "none to derive; the catalog is rebuilt" in apex("plan", str(season)).out


def test_a_long_list_of_sessions_is_truncated(tmp_path: Path, apex: Apex) -> None:
    header = "expire_at,lap,meta_event,meta_session,meta_source,meta_time,outing,timestamp,vehicle_id\n"
    row = ",1,I_R06_2025-09-07,{},k,2025-09-06T18:40:41.927Z,0,2025-09-06T18:40:41.775Z,GR86-002-0\n"
    (tmp_path / "season" / "spa").mkdir(parents=True)
    for name in (f"R{number}" for number in range(1, 11)):
        (tmp_path / "season" / "spa" / f"{name}_spa_lap_start.csv").write_text(header + row.format(name))
    result = apex("plan", str(tmp_path / "season"))
    assert "10 to derive: spa/R1" in result.out
    assert "and 2 more" in result.out
