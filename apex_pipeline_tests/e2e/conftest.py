"""Contains the fixtures of this folder: a synthetic weekend, synced once into a local lake and once into S3."""

from pathlib import Path

import pytest

from apex_pipeline.demo import GroundTruth
from apex_pipeline_tests.cli.conftest import Apex, apex
from apex_pipeline_tests.shared_lakes import SyncedLake, ignore, settings_in

__all__ = ["Apex", "SyncedLake", "apex", "ignore", "settings_in"]


@pytest.fixture(scope="session")
def weekend(demo_weekend: tuple[Path, GroundTruth]) -> tuple[Path, GroundTruth]:
    return demo_weekend


@pytest.fixture(scope="session")
def ground_truth(demo_weekend: tuple[Path, GroundTruth]) -> GroundTruth:
    return demo_weekend[1]


@pytest.fixture(scope="session")
def local_lake(demo_lake: SyncedLake) -> SyncedLake:
    return demo_lake


@pytest.fixture(scope="session")
def s3_lake(demo_bucket_lake: SyncedLake) -> SyncedLake:
    return demo_bucket_lake
