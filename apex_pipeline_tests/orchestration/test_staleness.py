"""Data versions: one changed session makes its own partitions stale, and no other; a sync leaves none stale.

The statuses are those that the UI shows; test_ui.py asks a running server for them.
"""

import warnings
from collections.abc import Mapping

import dagster as dg
import pytest
from dagster._core.definitions.data_version import (  # noqa: TID251  -- resolves staleStatus of the UI; a server takes 15 s
    CachingStaleStatusResolver,
    StaleStatus,
)
from dagster._core.loader import LoadingContextForTest  # noqa: TID251  -- as above

from apex_pipeline.orchestration.job_names import CATALOG_JOB, SESSION_JOB
from apex_pipeline.sources.gr_cup.source import GrCup
from apex_pipeline_tests.orchestration.lake_runs import ROLL_UPS, STEPS, LakeRuns

_SESSIONS = ("monza/R1", "spa/R1", "spa/R2")
_ASSETS = [asset for step in STEPS for asset in step]
_UNPARTITIONED = [*ROLL_UPS, "catalog/manifest"]


def report_source(lake: LakeRuns, key: str, version: str) -> None:
    """Observe the raw files of a session, as a sync does before it copies them."""
    observation = dg.AssetObservation(["raw", "files"], partition=key, tags={"dagster/data_version": version})
    lake.instance.report_runless_asset_event(observation)


def stale(lake: LakeRuns) -> set[str]:
    """Return what is stale or missing: ``asset`` or ``asset session``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = lake.definitions.get_repository_def().asset_graph
        resolver = CachingStaleStatusResolver(lake.instance, graph, LoadingContextForTest(lake.instance))
        statuses: Mapping[str, StaleStatus] = {
            **{
                f"{asset} {key}": resolver.get_status(dg.AssetKey(asset.split("/")), key)
                for asset in _ASSETS
                for key in _SESSIONS
            },
            **{asset: resolver.get_status(dg.AssetKey(asset.split("/"))) for asset in _UNPARTITIONED},
        }
    return {name for name, status in statuses.items() if status is not StaleStatus.FRESH}


@pytest.fixture
def synced(lake: LakeRuns) -> LakeRuns:
    """A lake with three sessions."""
    for key in _SESSIONS:
        lake.race(key)
        report_source(lake, key, "1")
    lake.sync()
    return lake


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
    assert stale(synced) == of_the_session | set(ROLL_UPS)
    for step in STEPS[2:]:
        assert synced.materialize("spa/R1", *step)
    assert stale(synced) == {*ROLL_UPS, "catalog/manifest"}
    assert synced.run(CATALOG_JOB)
    assert stale(synced) == set()


def test_a_run_of_one_session_leaves_only_the_roll_ups_stale(synced: LakeRuns) -> None:
    synced.race("monza/R1", laps=5)
    report_source(synced, "monza/R1", "2")
    assert synced.run(SESSION_JOB, "monza/R1")
    assert stale(synced) == {*ROLL_UPS, "catalog/manifest"}


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
