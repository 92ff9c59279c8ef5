"""``apex plan``: what a sync would do, without anything being sent; and that it is what the sync then does."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from apex_pipeline.demo import WeekendOptions, make_weekend
from apex_pipeline.orchestration.sync import sync
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.temp_dirs import DiskSpace
from apex_pipeline_tests.cli.conftest import Apex, use_bucket
from apex_pipeline_tests.servers.seaweed import S3Bucket

_READING = {"ListObjectsV2", "HeadObject", "GetObject"}


@pytest.fixture
def season(tmp_path: Path) -> Path:
    make_weekend(tmp_path / "season", WeekendOptions(target_bytes=2_000_000))
    return tmp_path / "season"


def _plan(apex: Apex, *words: str) -> dict[str, Any]:
    said = apex("plan", *words, "--json")
    assert said.code == 0
    return json.loads(said.out)


@pytest.mark.req("A-050")
def test_nothing_is_sent_by_a_plan_and_the_sync_sends_what_it_said(
    season: Path, s3_bucket: S3Bucket, apex: Apex, monkeypatch: pytest.MonkeyPatch, sent: list[str]
) -> None:
    shutil.rmtree(season / "harbor_street_circuit")  # the other track has all that counts, a file set aside among it
    use_bucket(s3_bucket, monkeypatch)
    before = _plan(apex, str(season))
    assert set(sent) <= _READING
    assert s3_bucket.object_keys() == []

    sent.clear()
    outcome = sync(load_settings(source_dir=season), lambda _: None)
    writing = [name for name in sent if name not in {*_READING, "ListMultipartUploads", "ListParts"}]
    assert (before["new"]["files"], before["new"]["bytes"]) == (outcome.copied, outcome.copied_bytes)
    assert before["sessions"] == [str(key) for key in outcome.derived]
    assert before["requests"]["put"] == len(writing)
    # Estimates, of requests that cost a tenth of a cent by the thousand.
    assert sum(name in {"HeadObject", "GetObject"} for name in sent) < 2 * before["requests"]["get"]
    assert sent.count("ListObjectsV2") < 2 * before["requests"]["list"]

    sent.clear()
    after = _plan(apex, str(season))
    assert set(sent) <= _READING
    assert (after["unchanged"]["files"], after["bytes_to_copy"], after["sessions"]) == (outcome.copied, 0, [])
    assert after["requests"]["put"] == 0
    assert sent.count("ListObjectsV2") == after["requests"]["list"]


@pytest.mark.req("K-12")
def test_dollars_come_with_the_date_of_the_prices(
    season: Path, s3_bucket: S3Bucket, apex: Apex, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_bucket(s3_bucket, monkeypatch)
    plan = _plan(apex, str(season))
    requests = plan["requests"]
    usd = (requests["put"] + requests["list"]) * 0.005 / 1000 + requests["get"] * 0.0004 / 1000
    assert plan["requests_usd"] == pytest.approx(usd)
    assert plan["storage_growth_usd_per_month"] == pytest.approx(plan["new"]["bytes"] / 2**30 * 0.023)
    assert plan["price_date"]
    said = apex("plan", str(season))
    assert f"{requests['put']:,} PUT" in said.out
    assert f"prices of {plan['price_date']}" in said.out
    assert f"{s3_bucket.server.endpoint} is not AWS" in said.out
    assert "(empty so far)" in said.out


def test_the_prices_of_aws_itself_need_no_remark(
    season: Path, s3_bucket: S3Bucket, apex: Apex, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_bucket(s3_bucket, monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_bucket.server.endpoint)
    monkeypatch.setattr("apex_pipeline.cli.options.load_settings", _without_endpoint)
    said = apex("plan", str(season))
    assert "prices of" in said.out
    assert "is not AWS" not in said.out


def _without_endpoint(**overrides: object) -> Any:
    return load_settings(**overrides, s3_endpoint_url=None)


@pytest.mark.req("K-20")
@pytest.mark.parametrize(("allowed", "told"), [("false", "only with ALLOW_CREATE_BUCKET=true"), ("true", "makes it)")])
def test_a_bucket_that_is_not_there_yet_is_planned_for_and_not_made(
    season: Path, s3_bucket: S3Bucket, apex: Apex, monkeypatch: pytest.MonkeyPatch, allowed: str, told: str
) -> None:
    use_bucket(s3_bucket, monkeypatch)
    monkeypatch.setenv("S3_BUCKET_NAME", f"{s3_bucket.name}-new")
    monkeypatch.setenv("ALLOW_CREATE_BUCKET", allowed)
    said = apex("plan", str(season))
    assert said.code == 0
    assert told in said.out
    assert _plan(apex, str(season))["lake_exists"] is False
    assert [bucket.get("Name") for bucket in s3_bucket.client.list_buckets()["Buckets"]].count(
        f"{s3_bucket.name}-new"
    ) == 0


@pytest.mark.req("A-050")
def test_of_a_local_lake_the_room_on_the_disk_is_told_instead_of_dollars(season: Path, apex: Apex) -> None:
    plan = _plan(apex, str(season))
    assert (plan["lake_exists"], plan["disk_is_enough"]) == (False, True)
    assert "requests" not in plan
    said = apex("plan", str(season))
    assert "(not there yet; a sync makes it)" in said.out
    assert f"free in {Path.cwd()}" in said.out
    assert "$" not in said.out
    assert not Path("lake").exists()


def test_a_disk_that_is_too_small_is_told(season: Path, apex: Apex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apex_pipeline.cli.plan.disk_space", lambda _: DiskSpace(Path("/mnt"), 1000))
    assert "1.0 kB free in /mnt: that is not enough" in apex("plan", str(season)).out
    assert _plan(apex, str(season))["disk_is_enough"] is False


def test_an_unchanged_folder_has_nothing_to_do(here: Path, apex: Apex) -> None:
    said = apex("plan", "demo-weekend")
    assert "none to derive\n" in said.out
    assert "Nothing was sent or written." in said.out
    plan = _plan(apex, "demo-weekend")
    assert (plan["new"]["files"], plan["changed"]["files"], plan["gone"]["files"]) == (0, 0, 0)
    assert plan["unchanged"]["files"] == 44


def test_what_changed_what_is_gone_and_what_cannot_be_read_is_named(
    here: Path, apex: Apex, season: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APEX_LAKE_DIR", str(here / "lake"))
    for path in sorted(season.rglob("*99_Best*")) + sorted(season.rglob("*03_*")) + sorted(season.rglob("*05_*")):
        path.unlink()
    weather = season / "harbor_street_circuit" / "26_Weather_Race 1_Anonymized.CSV"
    weather.write_text(weather.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    (season / "link.csv").symlink_to("nothing")
    said = apex("plan", str(season))
    assert "Changed: 1 file\n  harbor_street_circuit/26_Weather_Race 1_Anonymized.CSV" in said.out
    assert "Not in the source, kept in the lake: 18 files" in said.out
    assert "… and 10 more; --json names them all" in said.out
    assert "Cannot be read: 1 file\n  link.csv: it is a link to nothing" in said.out
    assert "Sessions  1 to derive: harbor_street_circuit/R1" in said.out
    plan = _plan(apex, str(season))
    assert plan["refused"] == [{"path": "link.csv", "reason": "it is a link to nothing"}]
    assert len(plan["gone"]["paths"]) == 18


def test_an_ignored_file_never_seen_makes_the_catalog_new(
    here: Path, apex: Apex, season: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APEX_LAKE_DIR", str(here / "lake"))
    (season / "Thumbs.db").write_bytes(b"x")
    assert "none to derive; the catalog is made again" in apex("plan", str(season)).out


def test_many_sessions_are_counted_after_the_first_few(tmp_path: Path, apex: Apex) -> None:
    header = "expire_at,lap,meta_event,meta_session,meta_source,meta_time,outing,timestamp,vehicle_id\n"
    row = ",1,I_R06_2025-09-07,{},k,2025-09-06T18:40:41.927Z,0,2025-09-06T18:40:41.775Z,GR86-002-0\n"
    (tmp_path / "season" / "spa").mkdir(parents=True)
    for name in (f"R{number}" for number in range(1, 11)):
        (tmp_path / "season" / "spa" / f"{name}_spa_lap_start.csv").write_text(header + row.format(name))
    said = apex("plan", str(tmp_path / "season"))
    assert "10 to derive: spa/R1" in said.out
    assert "and 2 more" in said.out
