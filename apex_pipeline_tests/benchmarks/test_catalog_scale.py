"""The catalog benchmark: every file it generates must be identified, or its times would be meaningless."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.local import LocalStore


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("catalog_scale")


@pytest.mark.req("A-124")
def test_every_generated_file_is_identified(benchmark: ModuleType, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake", DigestCache())
    store.prepare_for_writing()
    benchmark.fill(store, tracks=3, sessions=2)
    files, tracks, sessions = benchmark.make_catalog(store, None)
    assert set(files["status"].to_pylist()) == {"ready"}
    assert tracks["track"].to_pylist() == ["circuit_000", "circuit_001", "circuit_002"]
    assert sessions.num_rows == 6
    assert sessions["missing_kinds"].to_pylist() == [[]] * 6
    rebuilt = benchmark.make_catalog(store, files)
    assert [table.equals(before) for table, before in zip(rebuilt, (files, tracks, sessions), strict=True)] == [
        True
    ] * 3
