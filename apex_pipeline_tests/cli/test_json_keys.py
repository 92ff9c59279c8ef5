"""The keys of `--json` output are an interface: they stay when fields in the code are renamed."""

import json
from pathlib import Path
from typing import Any

import pytest

from apex_pipeline_tests.cli.conftest import Apex

pytestmark = pytest.mark.req("A-117")

_LAP = ("harbor_street_circuit", "R2", "--car", "13", "--lap", "5")
_RESULT = {"is_good", "said"}
_KEYS: dict[tuple[str, ...], set[str]] = {
    ("sync", "demo-weekend"): {
        *(
            "source",
            "lake",
            "statuses",
            "refused",
            "copied",
            "copied_bytes",
            "replaced",
            "derived",
            "failures",
            "notes",
        ),
        *("snapshot", "is_unchanged", "exit_code"),
    },
    ("plan", "demo-weekend"): {
        *("source", "lake", "lake_exists", "new", "changed", "unchanged", "gone", "ignored", "refused", "sessions"),
        *("is_catalog_stale", "bytes_to_copy", "disk_free_bytes", "disk_is_enough"),
    },
    ("trace", "laps", *_LAP): {"lap", "evidence"},
    ("doctor",): {"is_healthy", "checks"},
    ("verify",): {"lake", "snapshot", "is_deep", "is_good", "findings", "notes", "sessions"},
    ("gc",): {
        *("lake", "is_removed", "bytes", "unfinished_writes", "objects", "kept_snapshots", "lifecycle_rule"),
        *("race_objects", "races_left_out"),
    },
    ("cost",): {
        *("lake", "objects", "bytes", "bytes_by_area", "lines", "total_usd", "after_free_tier_usd", "price_date"),
        *("price_source", "free_tier"),
    },
    ("metrics",): {"lake", "snapshot", "published_utc", "files", "raw_bytes", "sessions", "traffic"},
    ("export", "new.sqlite", "--to", "sqlite"): {"target", "format", "bytes", "tables"},
    ("bundle", "new-lake"): {"target", "snapshot", "sessions", "tables", "has_raw_files", "files", "bytes"},
    ("downsample", "demo-weekend", "new-weekend"): {"target", "every", "bytes_in", "bytes_out", "files", "left_out"},
}
_NESTED: dict[tuple[str, ...], dict[str, set[str]]] = {
    ("plan", "demo-weekend"): {"unchanged": {"files", "bytes", "paths"}},
    ("trace", "laps", *_LAP): {"evidence": {"role", "stamped_utc_ms", "used_utc_ms", "note", "rows"}},
    ("doctor",): {"checks": {"check", "state", "said", "remedy"}},
    ("verify",): {
        "findings": {"key", "kind", "session", "problem"},
        "sessions": {"session", "laps", "telemetry", "official_timing", "raw_files", "is_good"},
    },
    ("cost",): {"lines": {"item", "amount", "unit", "usd", "free", "after_free_usd"}},
    ("metrics",): {
        "sessions": {
            *("track", "session", "laps", "telemetry_rows", "readings", "rejected_rows", "table_bytes", "quality"),
        },
        "traffic": {"requests", "errors", "waited_s", "average_ms"},
    },
    ("export", "new.sqlite", "--to", "sqlite"): {"tables": {"name", "rows"}},
    ("downsample", "demo-weekend", "new-weekend"): {
        "files": {"path", "bytes_in", "bytes_out", "thinned", "note"},
        "left_out": {"path", "reason"},
    },
}
_ACCURACY = {
    *("official", "of_known_cars", "listed", "comparable", "matched", "within_50ms", "within_100ms", "within_500ms"),
    *("off_by_1s", "jumping", "jumping_within_500ms", "invented", "best_official_s", "best_hidden_s", "best_listed_s"),
}


def _with_paths(folder: Path, words: tuple[str, ...]) -> list[str]:
    return [str(folder / word) if word.startswith("new") else word for word in words]


@pytest.mark.parametrize("words", _KEYS, ids=lambda words: words[0])
def test_json_objects_have_stable_keys(demo_dir: Path, tmp_path: Path, apex: Apex, words: tuple[str, ...]) -> None:
    facts: dict[str, Any] = json.loads(apex(*_with_paths(tmp_path, words), "--json").out)
    assert set(facts) == _KEYS[words]
    for name, keys in _NESTED.get(words, {}).items():
        entries = facts[name] if isinstance(facts[name], list) else [facts[name]]
        assert entries
        assert {frozenset(entry) for entry in entries} == {frozenset(keys)}


def test_every_load_result_has_two_keys(demo_dir: Path, apex: Apex) -> None:
    (row, *_) = json.loads(apex("verify", "--json").out)["sessions"]
    assert {name: set(value) for name, value in row.items() if isinstance(value, dict)} == {
        "laps": _RESULT,
        "telemetry": _RESULT,
        "official_timing": _RESULT,
        "raw_files": _RESULT,
    }


def test_every_accuracy_report_has_the_same_keys(demo_dir: Path, apex: Apex) -> None:
    reports = json.loads(apex("accuracy", "--json").out)
    assert {frozenset(report) for report in reports.values()} == {frozenset(_ACCURACY)}


def test_a_downsampled_telemetry_file_counts_rows_and_samples(demo_dir: Path, tmp_path: Path, apex: Apex) -> None:
    facts = json.loads(apex("downsample", "demo-weekend", str(tmp_path / "small"), "--json").out)
    counts = {frozenset(file["thinned"]) for file in facts["files"] if file["thinned"]}
    assert counts == {frozenset({"rows_in", "rows_out", "unreadable_rows", "samples_in", "samples_out"})}
