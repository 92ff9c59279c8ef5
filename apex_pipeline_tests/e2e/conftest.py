"""A synthetic weekend, synced once into a local lake and once into S3, for all tests of this folder."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from apex_pipeline.catalog import Catalog, open_catalog
from apex_pipeline.demo import GroundTruth, WeekendOptions, make_weekend
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.storage.contract import ObjectStore
from apex_pipeline.storage.opening import open_store
from apex_pipeline.sync import Event, SyncOutcome, sync
from apex_pipeline_tests.servers.s3_server import S3Server


def ignore(_event: Event) -> None:
    """Listen to nothing."""


@dataclass(frozen=True)
class SyncedLake:
    """A lake that was synced, and how."""

    settings: Settings
    outcome: SyncOutcome

    @property
    def catalog(self) -> Catalog:
        return open_catalog(settings=self.settings)

    @property
    def store(self) -> ObjectStore:
        return open_store(self.settings, for_writing=False)


def settings_in(folder: Path, source: Path, **overrides: object) -> Settings:
    """Return settings that keep everything of a sync in one folder."""
    return load_settings(
        source_dir=source,
        lake_dir=folder / "lake",
        dagster_home=folder / "dagster",
        state_dir=folder / "state",
        **overrides,
    )


@pytest.fixture(scope="session")
def weekend(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, GroundTruth]:
    folder = tmp_path_factory.mktemp("weekend") / "files"
    return folder, make_weekend(folder, WeekendOptions(target_bytes=2_000_000))


@pytest.fixture(scope="session")
def answers(weekend: tuple[Path, GroundTruth]) -> GroundTruth:
    return weekend[1]


@pytest.fixture(scope="session")
def local_lake(weekend: tuple[Path, GroundTruth], tmp_path_factory: pytest.TempPathFactory) -> SyncedLake:
    settings = settings_in(tmp_path_factory.mktemp("local"), weekend[0])
    return SyncedLake(settings, sync(settings, ignore))


@pytest.fixture(scope="session")
def s3_lake(
    weekend: tuple[Path, GroundTruth], tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server
) -> Iterator[SyncedLake]:
    bucket = f"e2e-{uuid4().hex[:12]}"
    s3_server.client().create_bucket(Bucket=bucket)
    credentials = {
        "AWS_ACCESS_KEY_ID": s3_server.access_key_id,
        "AWS_SECRET_ACCESS_KEY": s3_server.secret_access_key,
    }
    folder = tmp_path_factory.mktemp("s3")
    settings = settings_in(
        folder,
        weekend[0],
        use_s3_data=True,
        bucket=bucket,
        lake_prefix="season/one",
        s3_endpoint_url=s3_server.endpoint,
        aws_access_key_id=s3_server.access_key_id,
        aws_secret_access_key=s3_server.secret_access_key,
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in credentials.items():
            patch.setenv(name, value)
        yield SyncedLake(settings, sync(settings, ignore))
