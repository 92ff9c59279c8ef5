"""``apex cost``: the monthly cost of the lake, or of given amounts."""

import json
from pathlib import Path

import pytest

from apex_pipeline_tests.cli.conftest import Apex
from apex_pipeline_tests.servers.seaweed import S3Bucket


@pytest.mark.req("A-127")
def test_usage_within_the_free_tier_is_free_and_still_shows_the_list_price(apex: Apex) -> None:
    cost = json.loads(apex("cost", "--storage-gb", "5", "--gets", "20000", "--puts", "2000", "--json").out)
    assert cost["after_free_tier_usd"] == 0
    assert cost["total_usd"] == pytest.approx(0.115 + 0.008 + 0.010)
    assert cost["price_date"]
    assert cost["lines"][0]["item"] == "storage"


@pytest.mark.req("K-14")
def test_cost_shows_amounts_dollars_and_the_price_date(apex: Apex) -> None:
    result = apex("cost", "--storage-gb", "3", "--gets", "10000")
    assert result.code == 0
    assert "10,000 requests" in result.out
    assert "$0.07" in result.out
    assert "$0.0040" in result.out
    assert "Prices of 2026-" in result.out
    assert "Lake" not in result.out


def test_egress_alone_can_be_estimated(apex: Apex) -> None:
    cost = json.loads(apex("cost", "--egress-gb", "200", "--json").out)
    assert cost["total_usd"] == pytest.approx(9.0)
    assert "lake" not in cost


def test_a_negative_amount_is_refused(apex: Apex) -> None:
    assert apex("cost", "--gets", "-1").code == 2


def test_a_local_lake_is_priced_as_if_it_were_in_s3(demo_dir: Path, apex: Apex) -> None:
    files = [path for path in (demo_dir / "lake").rglob("*") if path.is_file() and ".incoming" not in path.parts]
    cost = json.loads(apex("cost", "--json").out)
    assert (cost["objects"], cost["bytes"]) == (len(files), sum(path.stat().st_size for path in files))
    assert sum(cost["bytes_by_area"].values()) == cost["bytes"]
    assert {"data", "tables", "catalog"} <= set(cost["bytes_by_area"])
    assert cost["lines"][0]["amount"] == pytest.approx(cost["bytes"] / 2**30)
    assert f"{len(files)} objects" in apex("cost").out


def test_estimating_the_cost_of_a_bucket_only_lists_it(bucket_lake: S3Bucket, apex: Apex, sent: list[str]) -> None:
    cost = json.loads(apex("cost", "--json").out)
    assert cost["lake"] == f"s3://{bucket_lake.name}"
    assert cost["objects"] == len(bucket_lake.object_keys())
    assert set(sent) == {"ListObjectsV2"}
