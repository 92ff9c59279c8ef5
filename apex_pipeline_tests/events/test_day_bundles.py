"""A bundle has every event of a day once, in parts of the size asked for, and says which file each part is made of."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from apex_pipeline.errors import ConfigurationError, ObjectMissingError
from apex_pipeline.events.day_bundles import bundle_day
from apex_pipeline_tests.events.days import KEY, Deliveries


@pytest.fixture
def deliveries(tmp_path: Path) -> Deliveries:
    found = Deliveries(tmp_path)
    for minute in range(3):
        # What cannot be compressed shows the size of parts: gzip keeps 32 KB to itself before it writes.
        names = [hashlib.shake_128(f"{minute}-{number}".encode()).hexdigest(2_000) for number in range(50)]
        events = "".join(f"<EVENT><N>{name}</N></EVENT>" for name in names)
        found.deliver(f"20250729_1615{minute:02}.xml", f"<EVENTS>{events}</EVENTS>".encode())
    found.deliver("20250729_162000.json", b'[{\n "n": 1e999,\r\n "n": "a\\nb"}]')
    found.make()
    return found


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]


def test_every_event_is_in_one_part_and_the_manifest_names_its_file(deliveries: Deliveries, tmp_path: Path) -> None:
    parts = bundle_day(deliveries.lake, KEY, tmp_path / "bundle", 100_000)
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    lines = [line for part in parts for line in _lines(tmp_path / "bundle" / part.name)]
    assert [part.bytes // 100_000 for part in parts[:-1]] == [1] * (len(parts) - 1)
    assert len(parts) > 1
    assert {line["event_id"] for line in lines} == {row["event_id"] for row in deliveries.records()}
    assert len(lines) == manifest["events"] == 151
    assert lines[-1]["payload"] == {"n": "a\nb"}
    counts: dict[str, int] = {}
    for part in manifest["parts"]:
        content = (tmp_path / "bundle" / part["name"]).read_bytes()
        assert (part["bytes"], part["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        for file, count in part["files"].items():
            counts[file] = counts.get(file, 0) + count
    assert sorted(counts.values()) == [1, 50, 50, 50]


def test_one_part_is_enough_if_it_may_be_large_and_equal_days_give_equal_bytes(
    deliveries: Deliveries, tmp_path: Path
) -> None:
    (one,) = bundle_day(deliveries.lake, KEY, tmp_path / "one", 128_000_000)
    (two,) = bundle_day(deliveries.lake, KEY, tmp_path / "two", 128_000_000)
    assert one == two


def test_the_delivered_files_stay_as_they_are(deliveries: Deliveries, tmp_path: Path) -> None:
    before = [(info.key, info.tag) for info in deliveries.store.list()]
    bundle_day(deliveries.lake, KEY, tmp_path / "bundle", 100)
    assert [(info.key, info.tag) for info in deliveries.store.list()] == before


def test_a_day_without_records_and_a_target_that_exists_are_refused(deliveries: Deliveries, tmp_path: Path) -> None:
    with pytest.raises(ObjectMissingError, match="apex events records"):
        bundle_day(deliveries.store, KEY, tmp_path / "bundle", 100)
    assert not (tmp_path / "bundle").exists()
    bundle_day(deliveries.lake, KEY, tmp_path / "bundle", 100)
    with pytest.raises(ConfigurationError, match="already exists"):
        bundle_day(deliveries.lake, KEY, tmp_path / "bundle", 100)
