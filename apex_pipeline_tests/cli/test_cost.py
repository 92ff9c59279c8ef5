"""``apex cost``: the bill of a month, of the lake as it is or of given amounts."""

import json
from pathlib import Path

import pytest

from apex_pipeline_tests.cli.conftest import Apex
from apex_pipeline_tests.servers.seaweed import S3Bucket


@pytest.mark.req("A-127")
def test_the_free_tier_of_the_first_estimate_is_free_and_the_list_price_beside_it(apex: Apex) -> None:
    bill = json.loads(apex("cost", "--storage-gb", "5", "--gets", "20000", "--puts", "2000", "--json").out)
    assert bill["after_free_tier_usd"] == 0
    assert bill["total_usd"] == pytest.approx(0.115 + 0.008 + 0.010)
    assert bill["price_date"]
    assert bill["lines"][0]["item"] == "storage"


@pytest.mark.req("K-14")
def test_amounts_and_dollars_are_shown_with_the_date_of_the_prices(apex: Apex) -> None:
    said = apex("cost", "--storage-gb", "3", "--gets", "10000")
    assert said.code == 0
    assert "10,000 requests" in said.out
    assert "$0.07" in said.out
    assert "$0.0040" in said.out
    assert "Prices of 2026-" in said.out
    assert "Lake" not in said.out


def test_an_egress_alone_is_an_amount_too(apex: Apex) -> None:
    bill = json.loads(apex("cost", "--egress-gb", "200", "--json").out)
    assert bill["total_usd"] == pytest.approx(9.0)
    assert "lake" not in bill


def test_an_amount_below_nothing_is_refused(apex: Apex) -> None:
    assert apex("cost", "--gets", "-1").code == 2


def test_a_local_lake_is_priced_as_if_it_were_in_s3(here: Path, apex: Apex) -> None:
    files = [path for path in (here / "lake").rglob("*") if path.is_file() and ".incoming" not in path.parts]
    bill = json.loads(apex("cost", "--json").out)
    assert (bill["objects"], bill["bytes"]) == (len(files), sum(path.stat().st_size for path in files))
    assert sum(bill["bytes_by_area"].values()) == bill["bytes"]
    assert {"data", "tables", "catalog"} <= set(bill["bytes_by_area"])
    assert bill["lines"][0]["amount"] == pytest.approx(bill["bytes"] / 2**30)
    assert f"{len(files)} objects" in apex("cost").out


def test_a_bucket_is_priced_by_its_listing_alone(bucket_lake: S3Bucket, apex: Apex, sent: list[str]) -> None:
    bill = json.loads(apex("cost", "--json").out)
    assert bill["lake"] == f"s3://{bucket_lake.name}"
    assert bill["objects"] == len(bucket_lake.object_keys())
    assert set(sent) == {"ListObjectsV2"}
