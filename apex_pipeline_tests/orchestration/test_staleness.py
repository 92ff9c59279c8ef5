"""Data versions: one changed session makes its own partitions stale, and no other; a sync leaves none stale.

A partition is stale if it was made from another version of an input, or by other code, than is there now: the rule by
which Dagster's UI shows it. test_ui.py asks a running server, which also judges the roll-ups.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import pytest

from apex_pipeline.orchestration.job_names import SESSION_JOB
from apex_pipeline.sources.gr_cup.source import GrCup
from apex_pipeline_tests.orchestration.lake_copies import copied, made_once
from apex_pipeline_tests.orchestration.lake_runs import STEPS, LakeRuns

_SESSIONS = ("monza/R1", "spa/R1", "spa/R2")
_ASSETS = [asset for step in STEPS for asset in step]


def report_source(lake: LakeRuns, key: str, version: str) -> None:
    """Observe the raw files of a session, as a sync does before it copies them."""
    observation = dg.AssetObservation(["raw", "files"], partition=key, tags={"dagster/data_version": version})
    lake.instance.report_runless_asset_event(observation)


def stale(lake: LakeRuns) -> set[str]:
    """Return the partitions that are stale or missing, as ``asset session``."""
    graph = lake.definitions.get_repository_def().asset_graph
    # Most assets are inputs of several others.
    versions = cache(partial(_versions, lake))
    return {
        f"{asset} {key}"
        for asset in _ASSETS
        for key in _SESSIONS
        if not _is_fresh(graph.get(dg.AssetKey(asset.split("/"))), key, versions)
    }


def _is_fresh(node: Any, key: str, versions_of: Callable[[dg.AssetKey, str], list["_Version"]]) -> bool:
    own = versions_of(node.key, key)
    if not own or own[-1].code_version != node.code_version:
        return False
    inputs = (versions_of(parent, key) for parent in node.parent_keys)
    return all(_used_by(own[-1], versions) == versions[-1].data_version for versions in inputs if versions)


class _Version(NamedTuple):
    """A version of a partition: when it was recorded, and the versions of its data and code."""

    number: int
    data_version: str
    code_version: str | None


def _used_by(made: _Version, inputs: list[_Version]) -> str | None:
    """Return the version of an input that was the latest when something was made from it."""
    return next((found.data_version for found in reversed(inputs) if found.number < made.number), None)


def _versions(lake: LakeRuns, asset: dg.AssetKey, key: str) -> list[_Version]:
    """Return the materializations and observations of a partition, oldest first."""
    wanted = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=[key])
    made = lake.instance.fetch_materializations(wanted, limit=100).records
    seen = lake.instance.fetch_observations(wanted, limit=100).records
    found = [(record.storage_id, record.asset_materialization) for record in made]
    found += [(record.storage_id, record.event_log_entry.asset_observation) for record in seen]
    return sorted(
        _Version(number, event.tags["dagster/data_version"], event.tags.get("dagster/code_version"))
        for number, event in found
        if event and event.tags
    )


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeRuns]:
    with made_once(LakeRuns, tmp_path_factory) as lake:
        for key in _SESSIONS:
            lake.race(key)
            report_source(lake, key, "1")
        lake.sync()
        yield lake


@pytest.fixture
def synced(original: LakeRuns, tmp_path: Path) -> Iterator[LakeRuns]:
    """A lake with three sessions."""
    with copied(original, tmp_path) as lake:
        yield lake


def test_nothing_is_stale_after_a_sync(synced: LakeRuns) -> None:
    assert stale(synced) == set()


def test_one_changed_session_makes_exactly_its_own_partitions_stale_until_it_is_synced(synced: LakeRuns) -> None:
    synced.race("spa/R1", laps=5)
    report_source(synced, "spa/R1", "2")
    assert stale(synced) == {"lake/files spa/R1"}
    assert synced.materialize("spa/R1", "lake/files")
    assert stale(synced) == {"lake/session spa/R1"}
    assert synced.materialize("spa/R1", "lake/session")
    of_the_session = {f"{asset} spa/R1" for step in STEPS[2:] for asset in step}
    assert stale(synced) == of_the_session
    for step in STEPS[2:]:
        assert synced.materialize("spa/R1", *step)
    assert stale(synced) == set()


def test_a_run_of_one_session_leaves_nothing_stale(synced: LakeRuns) -> None:
    synced.race("monza/R1", laps=5)
    report_source(synced, "monza/R1", "2")
    assert stale(synced) == {"lake/files monza/R1"}
    assert synced.run(SESSION_JOB, "monza/R1")
    assert stale(synced) == set()


def test_materializing_again_without_a_change_makes_nothing_stale(synced: LakeRuns) -> None:
    for step in STEPS:
        assert synced.materialize("spa/R2", *step)
    assert stale(synced) == set()


def test_a_change_that_leaves_a_table_as_it_was_does_not_make_the_tables_behind_it_stale(synced: LakeRuns) -> None:
    synced.race("spa/R1", laps=5)
    for step in STEPS[:4]:
        assert synced.materialize("spa/R1", *step)
    # The tables behind read the record too, so they are stale; quality also because laps changed.
    assert "tables/quality spa/R1" in stale(synced)
    assert synced.materialize("spa/R1", *STEPS[4])
    assert synced.materialize("spa/R1", *STEPS[5])
    assert {name for name in stale(synced) if name.startswith("tables/")} == set()


def test_a_new_version_of_the_derivation_makes_every_session_of_the_source_stale(
    synced: LakeRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GrCup, "derivation_version", "next")
    instance = synced.instance
    synced.instance = dg.DagsterInstance.ephemeral()
    synced.home()
    synced.close()
    synced.instance = instance
    assert {name for name in stale(synced) if not name.startswith("tables/")} == {
        f"lake/session {key}" for key in _SESSIONS
    }
