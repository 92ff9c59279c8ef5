"""Synthetic races and real ones never share a lake."""

import shutil
from pathlib import Path

import pytest

from apex_pipeline.cli.demo_lake import demo_settings, mark_demo_lake, refuse_mixture
from apex_pipeline.demo import WeekendOptions, make_weekend
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.cli.conftest import Apex
from apex_pipeline_tests.lake.tables import publish_tables


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _publish_real_races(lake: str) -> None:
    store = LocalStore(Path(lake), DigestCache())
    store.prepare_for_writing()
    publish_tables(store, SessionKey("sebring", "R1"))


def _weekend() -> Path:
    make_weekend(Path("weekend"), WeekendOptions(target_bytes=2_000_000))
    return Path("weekend")


def test_the_demo_has_a_lake_of_its_own() -> None:
    assert demo_settings(Path("weekend")).lake_dir == Path("demo-lake")


def test_the_demo_uses_the_lake_that_the_user_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APEX_LAKE_DIR", "mine")
    assert demo_settings(Path("weekend")).lake_dir == Path("mine")


def test_the_demo_refuses_a_lake_with_real_races(monkeypatch: pytest.MonkeyPatch) -> None:
    _publish_real_races("mine")
    monkeypatch.setenv("APEX_LAKE_DIR", "mine")
    with pytest.raises(ConfigurationError, match=r"already contains other races.*APEX_LAKE_DIR unset"):
        mark_demo_lake(demo_settings(Path("weekend")))


def test_real_races_are_refused_in_a_demo_lake() -> None:
    Path("races").mkdir()
    mark_demo_lake(demo_settings(Path("weekend")))
    with pytest.raises(ConfigurationError, match=r"contains the synthetic races.*APEX_LAKE_DIR"):
        refuse_mixture(load_settings(source_dir=Path("races"), lake_dir=Path("demo-lake")))


def test_synthetic_races_are_refused_in_a_lake_of_real_ones() -> None:
    _publish_real_races("lake")
    with pytest.raises(ConfigurationError, match=r"synthetic races of `apex demo`, and the lake .* real ones"):
        refuse_mixture(load_settings(source_dir=_weekend(), lake_dir=Path("lake")))


def _is_accepted(source: Path, lake: Path) -> bool:
    try:
        refuse_mixture(load_settings(source_dir=source, lake_dir=lake))
    except ConfigurationError:
        return False
    return True


def test_a_lake_that_starts_with_synthetic_races_is_a_demo_lake() -> None:
    """Whoever follows the guide syncs the demo weekend into a new lake with `apex sync`."""
    assert _is_accepted(_weekend(), Path("lake"))
    Path("races").mkdir()
    assert not _is_accepted(Path("races"), Path("lake"))
    assert _is_accepted(Path("weekend"), Path("lake"))


def test_a_damaged_pointer_does_not_keep_the_sync_from_repairing_it() -> None:
    _publish_real_races("lake")
    Path("lake/catalog/current.json").write_text("{", encoding="utf-8")
    Path("races").mkdir()
    assert _is_accepted(Path("races"), Path("lake"))
    Path("demo-lake/catalog").mkdir(parents=True)
    Path("demo-lake/catalog/current.json").write_text("{", encoding="utf-8")
    assert _is_accepted(_weekend(), Path("demo-lake"))


def test_each_kind_is_synced_into_its_own_lake() -> None:
    mark_demo_lake(demo_settings(Path("weekend")))
    Path("races").mkdir()
    races, demo_lake, lake = Path("races"), Path("demo-lake"), Path("lake")
    assert _is_accepted(_weekend(), demo_lake)
    assert _is_accepted(races, lake)
    assert not _is_accepted(races, demo_lake)


def test_a_sync_that_would_mix_them_ends_with_exit_code_2_before_anything_is_written(
    apex: Apex, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(_weekend() / "Mesa Verde Raceway" / "Race 1", Path("real") / "spa" / "Race 1")
    mark_demo_lake(demo_settings(Path("weekend")))
    before = sorted(path for path in Path("demo-lake").rglob("*") if path.is_file())
    monkeypatch.setenv("APEX_LAKE_DIR", "demo-lake")
    result = apex("sync", "real")
    assert result.code == 2
    assert "contains the synthetic races" in result.error
    assert sorted(path for path in Path("demo-lake").rglob("*") if path.is_file()) == before
