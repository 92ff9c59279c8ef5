"""``apex metrics``: metrics of the published lake for people, programs and Prometheus."""

import json
import re
from pathlib import Path

import pytest

from apex_pipeline_tests.cli.conftest import Apex
from apex_pipeline_tests.servers.seaweed import S3Bucket

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

_SAMPLE = re.compile(r"(?P<name>[a-z_:][a-z0-9_:]*)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)")
_LABEL = re.compile(r'([a-z_][a-z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)')


def parse(text: str) -> Samples:
    """Parse the Prometheus text format strictly: each metric declared once and followed by its samples only."""
    assert text.endswith("\n")
    samples: Samples = {}
    declared: list[str] = []
    for line in text.splitlines():
        if line.startswith("# HELP "):
            declared.append(line.split(" ")[2])
            assert declared.count(declared[-1]) == 1
            continue
        if line.startswith("# TYPE "):
            assert line == f"# TYPE {declared[-1]} gauge"
            continue
        found = _SAMPLE.fullmatch(line)
        assert found, line
        labels = frozenset(_LABEL.findall(found["labels"] or ""))
        assert found["name"] == declared[-1]
        assert (found["name"], labels) not in samples
        samples[found["name"], labels] = float(found["value"])
    return samples


@pytest.mark.req("A-090")
def test_prometheus_and_json_report_the_same_values(demo_dir: Path, apex: Apex) -> None:
    samples = parse(apex("metrics", "--prometheus").out)
    document = json.loads(apex("metrics", "--json").out)
    assert samples["apex_sessions", frozenset()] == len(document["sessions"]) == 4
    for one in document["sessions"]:
        where = {("track", one["track"]), ("session", one["session"])}
        assert samples["apex_laps", frozenset(where)] == one["laps"]
        assert samples["apex_quality_score", frozenset(where)] == one["quality"]
        for outcome, number in one["readings"].items():
            assert samples["apex_readings", frozenset({*where, ("outcome", outcome)})] == number
    for status, number in document["files"].items():
        assert samples["apex_files", frozenset({("status", status)})] == number
    assert samples["apex_raw_bytes", frozenset()] == document["raw_bytes"]


@pytest.mark.req("A-090")
def test_metrics_match_the_lake(demo_dir: Path, apex: Apex) -> None:
    document = json.loads(apex("metrics", "--json").out)
    raw = [path for path in (demo_dir / "lake" / "data").rglob("*") if path.is_file()]
    assert document["raw_bytes"] == sum(path.stat().st_size for path in raw)
    tables = list((demo_dir / "lake" / "tables").rglob("*.parquet"))
    assert sum(one["table_bytes"] for one in document["sessions"]) == sum(path.stat().st_size for path in tables)
    assert sum(document["files"].values()) == len(raw) + document["files"]["ignored"]
    for one in document["sessions"]:
        readings = one["readings"]
        assert readings["readings_in"] > 0
        lost = readings["exact_duplicates"] + readings["rejected"]
        assert readings["readings_in"] == readings["cells_out"] + lost
        laps = json.loads(apex("laps", one["track"], one["session"], "--json").out)
        assert one["laps"] == len(laps)
    assert document["traffic"] == {"requests": 0, "errors": 0, "waited_s": 0.0, "average_ms": 0.0}


def test_metrics_prints_a_line_per_session_and_the_publication_time(demo_dir: Path, apex: Apex) -> None:
    result = apex("metrics")
    assert result.code == 0
    assert all(name in result.out for name in ("harbor_street_circuit/R1", "mesa_verde_raceway/R2"))
    assert re.search(r"Published  20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ, 4 sessions", result.out)
    assert "2 quarantined" in result.out
    assert "This run" not in result.out


@pytest.mark.req("A-090")
def test_metrics_of_a_bucket_count_their_own_requests(bucket_lake: S3Bucket, apex: Apex, sent: list[str]) -> None:
    document = json.loads(apex("metrics", "--json").out)
    assert document["traffic"]["requests"] == len(sent) > 0
    assert document["traffic"]["errors"] == 0
    assert document["traffic"]["average_ms"] > 0
    assert set(sent) <= {"GetObject", "HeadObject", "ListObjectsV2"}
    assert re.search(r"This run   \d+ requests, 0 errors, \d+ ms on average", apex("metrics").out)


def test_two_formats_at_once_are_refused(apex: Apex) -> None:
    result = apex("metrics", "--json", "--prometheus")
    assert result.code == 2
    assert "Choose one of them." in result.error


def test_an_empty_lake_is_an_error(apex: Apex) -> None:
    result = apex("metrics", "--json")
    assert (result.code, result.out) == (2, "")
    assert "Nothing is published" in result.error
