"""Targets, cases and engines of the transfer benchmark: errors in them could hide a slow result."""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Load = Callable[[str], ModuleType]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module


def case_runs(
    load: Load, case: str, seconds: dict[str, list[float]], *, peak_mb: float = 150, note: str | None = None
) -> Any:
    """Return a case in which the engines took these times and this peak memory."""
    report, measured = load("transfer_engines.report"), load("measuring").Measurement
    engines = {
        name: report.EngineRuns([measured(1.0, wall_s, peak_mb, peak_mb) for wall_s in walls], note)
        for name, walls in seconds.items()
    }
    return report.CaseRuns("seaweedfs", load("transfer_engines.cases").CASES[case], engines, sweep={4: 1.2, 10: 1.0})


@pytest.mark.parametrize(
    ("case", "seconds", "peak_mb", "expected"),
    [
        ("large", {"ours": [1.05, 1.05], "boto3": [1.0, 1.0]}, 150, []),
        ("large", {"ours": [1.2, 1.2], "boto3": [1.0, 1.0]}, 150, ["our throughput is 0.83 of boto3's"]),
        # The median of the ratios per round is compared, so one slow round does not matter.
        ("large", {"ours": [1.0, 2.0, 9.0], "boto3": [1.0, 2.0, 3.0]}, 150, []),
        ("large", {"ours": [1.0], "boto3": [1.0]}, 201, ["our peak is 201 MB"]),
        ("large", {"ours": [2.0], "rclone": [1.0]}, 150, []),
        ("small", {"ours": [2.0], "rclone": [1.0]}, 150, []),
        ("small", {"ours": [1.0], "s5cmd": [1.0]}, 150, ["ours takes 1.00 times as long as s5cmd, more than 0.9"]),
        ("small", {"upload": [1.4], "s5cmd": [1.0]}, 150, ["upload takes 1.40 times as long as s5cmd, more than 1.3"]),
        ("small", {"ours": [0.9], "upload": [1.3], "s5cmd": [1.0]}, 150, []),
        ("again", {"ours": [2.0], "s5cmd": [1.0]}, 150, []),
        ("again", {"upload": [0.6, 0.5, 0.9]}, 150, []),
        ("again", {"upload": [0.7]}, 150, ["`apex upload` takes 0.70 s, more than 0.6 s"]),
        ("large", {"ours": [1.0]}, 150, []),
    ],
)
def test_a_case_is_checked_against_its_own_targets(
    load: Load, case: str, seconds: dict[str, list[float]], peak_mb: float, expected: list[str]
) -> None:
    found = load("transfer_engines.report").problems(case_runs(load, case, seconds, peak_mb=peak_mb))
    assert len(found) == len(expected)
    assert all(text in problem for text, problem in zip(expected, found, strict=True))


def test_a_failed_engine_is_a_problem_and_is_not_compared(load: Load) -> None:
    runs = case_runs(load, "large", {"ours": [1.0], "boto3": [0.1]}, note="failed: no space")
    found = load("transfer_engines.report").problems(runs)
    assert [problem.partition(": ")[2] for problem in found] == ["ours failed: no space", "boto3 failed: no space"]


@pytest.mark.parametrize(
    ("requests", "wall_s", "expected"),
    [
        ({"listing": 1, "HEAD": 3, "further page of a listing": 1}, 1.9, []),
        ({"listing": 1, "PUT": 1, "POST": 1}, 1.0, ["2 write requests"]),
        ({"listing": 2}, 1.0, ["2 listings instead of one"]),
        ({"listing": 1}, 2.5, ["2.50 s instead of 2"]),
    ],
)
def test_an_unchanged_sync_is_checked_by_its_requests_and_time(
    load: Load, requests: dict[str, int], wall_s: float, expected: list[str]
) -> None:
    found = load("transfer_engines.report").sync_problems({"rounds": [{"requests": requests, "wall_s": wall_s}] * 2})
    assert found == [f"unchanged sync: {problem}" for problem in expected]


def lookup_runs(load: Load, ours_s: float) -> Any:
    """Return lookups and reads for which ours took this time, and botocore 2 s."""
    report, measured = load("transfer_engines.report"), load("measuring").Measurement
    times = {"ours": ours_s, "botocore": 2.0}
    runs = {
        (operation, engine): [measured(wall_s / 2, wall_s, 50, 50)] * 2
        for operation in report.OPERATIONS
        for engine, wall_s in times.items()
    }
    return report.LookupRuns(1_000, runs)


def test_lookups_and_reads_are_compared_with_botocore(load: Load) -> None:
    report = load("transfer_engines.report")
    assert report.lookup_problems(lookup_runs(load, 1.0)) == []
    assert report.lookup_problems(lookup_runs(load, 1.2)) == [
        "1,000 HEAD: 0.60 of botocore's time, more than 0.5",
        "1,000 GET: 0.60 of botocore's time, more than 0.5",
    ]
    text = report.markdown([], None, {}, lookup_runs(load, 1.2))
    assert "| GET | ours | 2 | 1.20 [1.20-1.20] | 0.60 [0.60-0.60] |" in text
    assert "- HEAD, ours / botocore per round: wall **0.60 [0.60-0.60]**" in text


def test_the_report_has_medians_ratios_and_missed_targets(load: Load) -> None:
    runs = case_runs(load, "large", {"ours": [4.0, 2.0, 6.0], "boto3": [2.0, 2.0, 2.0]})
    sync = {"files": 1_000, "bytes": 10**7, "first_s": 50.0, "rounds": [{"wall_s": 1.5, "requests": {"listing": 1}}]}
    text = load("transfer_engines.report").markdown([runs], sync, {"rclone": "v1.75.2", "s5cmd": None})
    assert "| ours | 3 | 4.00 [2.00-6.00] | 250.0 |" in text
    assert "Ours / boto3 per round: wall **2.00 [1.00-3.00]**" in text
    assert "our throughput is 0.50 of boto3's" in text
    assert "measured with 10." in text
    assert "rclone v1.75.2" in text
    assert "s5cmd None" not in text
    assert "**1.50 [1.50-1.50] s**" in text


@pytest.mark.parametrize(
    ("name", "megabytes", "title"),
    [
        ("large", None, "1 x 1,000 MB"),
        ("large", 60, "1 x 60 MB"),
        ("medium", 60, "20 x 3 MB"),
        ("small", 60, "1,000 x 10 KB"),
        ("small", 1, "100 x 10 KB"),
        ("again", 1, "100 x 10 KB, a second run"),
        ("medium", 1, "1 x 3 MB"),
    ],
)
def test_a_reduced_case_has_fewer_files_or_a_smaller_file(
    load: Load, name: str, megabytes: int | None, title: str
) -> None:
    cases = load("transfer_engines.cases")
    assert cases.scaled(cases.CASES[name], megabytes).title == title


def test_files_of_a_case_are_reproducible_and_differ_from_each_other(load: Load, tmp_path: Path) -> None:
    cases = load("transfer_engines.cases")
    for name in ("one", "two"):
        cases.make_files(tmp_path / name, cases.Case(3, 2_000_000))
    contents = [path.read_bytes() for path in sorted(tmp_path.rglob("*.csv"))]
    assert contents[:3] == contents[3:]
    assert {len(content) for content in contents} == {2_000_000}
    assert len(set(contents)) == 3


def test_tools_are_found_in_the_given_folder_and_missing_ones_left_out(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    (tmp_path / "s5cmd").write_text("#!/bin/sh\necho v2.3.0-991c9fb\n")
    (tmp_path / "s5cmd").chmod(0o700)
    engines = load("transfer_engines.engines").Engines(tmp_path)
    assert engines.exclusion_reason("s5cmd", is_second_run=False) is None
    assert engines.version("s5cmd") == "v2.3.0"
    assert "would send everything again" in engines.exclusion_reason("boto3", is_second_run=True)
    target = load("transfer_engines.engines").Target("http://127.0.0.1:9", "races", "a-key", "a-secret")
    command = engines.command("s5cmd", target, Path("/files"), Path("/state"), 4)
    assert command[0] == str(tmp_path / "s5cmd")
    assert "a-secret" not in " ".join(command)


def test_commands_of_our_engine_and_boto3_use_this_python(load: Load) -> None:
    module = load("transfer_engines.engines")
    target = module.Target("http://127.0.0.1:9", "races", "a-key", "a-secret")
    commands = [
        module.Engines().command(name, target, Path("/files"), Path("/state"), 16)
        for name in ("ours", "boto3", "upload")
    ]
    assert [command[3:] for command in commands] == [
        ["http://127.0.0.1:9", "races", "/files", "/state"],
        ["http://127.0.0.1:9", "races", "/files", "16"],
        ["upload", "/files", "--bucket", "races", "--prefix", ""],
    ]
    assert target.environment["S3_ENDPOINT_URL"] == "http://127.0.0.1:9"
