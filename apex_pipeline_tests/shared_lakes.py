"""Lakes that are built once per test run, and the source files they are built from.

Contains the builders and the fixtures; see shared_run.py for the lock. Every process gets its own folder. Lake objects
in it are hard links, because the catalog identifies a file by its inode too and a copy would count as changed. All
other files, including SQLite databases, are copies. Objects are replaced by renaming and never written in place; a test
that damages one works on a copy of the lake.
"""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from apex_pipeline.catalog import Catalog, open_catalog
from apex_pipeline.cli import main
from apex_pipeline.demo import GroundTruth, WeekendOptions, make_weekend
from apex_pipeline.orchestration.command_sync import sync
from apex_pipeline.orchestration.sync import SyncEvent, SyncOutcome
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store
from apex_pipeline_tests.environment import forget_settings
from apex_pipeline_tests.lake.derived import open_lake, publish_folder
from apex_pipeline_tests.servers.s3_server import S3Server
from apex_pipeline_tests.shared_run import SharedRun

_OPTIONS = WeekendOptions(target_bytes=2_000_000)
# The folder names of `apex demo`, with the lake where the other commands look for it.
_SOURCE, _LAKE, _DAGSTER_HOME, _STATE = "demo-weekend", "lake", ".dagster", ".apex"


@dataclass(frozen=True)
class SyncedLake:
    """A synced lake, with its settings and the outcome of the sync."""

    settings: Settings
    outcome: SyncOutcome

    @property
    def catalog(self) -> Catalog:
        return open_catalog(settings=self.settings)

    @property
    def store(self) -> ObjectStore:
        return open_store(self.settings, for_writing=False)


def ignore(_event: SyncEvent) -> None:
    """Ignore the event."""


def settings_in(folder: Path, source: Path, **overrides: object) -> Settings:
    """Return settings that keep lake, Dagster home and state in one folder."""
    return load_settings(
        source_dir=source,
        lake_dir=folder / _LAKE,
        dagster_home=folder / _DAGSTER_HOME,
        state_dir=folder / _STATE,
        **overrides,
    )


@pytest.fixture(scope="session")
def demo_weekend(shared_run: SharedRun) -> tuple[Path, GroundTruth]:
    """A synthetic weekend of 2 MB and its ground truth; read-only."""
    folder, truth = shared_run.once("weekend", lambda folder: make_weekend(folder / _SOURCE, _OPTIONS))
    return folder / _SOURCE, truth


@pytest.fixture(scope="session")
def demo_folder(shared_run: SharedRun) -> tuple[Path, SyncOutcome]:
    """A folder after `apex demo` (demo-weekend, lake, .dagster, .apex), and the outcome of its sync."""
    shared, outcome = shared_run.once("demo", _run_demo)
    return _process_folder(shared_run, shared), outcome


@pytest.fixture(scope="session")
def demo_lake(demo_folder: tuple[Path, SyncOutcome]) -> SyncedLake:
    """The lake of the demo folder."""
    folder, outcome = demo_folder
    return SyncedLake(settings_in(folder, folder / _SOURCE), outcome)


@pytest.fixture(scope="session")
def demo_bucket_lake(shared_run: SharedRun, demo_weekend: tuple[Path, GroundTruth], s3_server: S3Server) -> SyncedLake:
    """The same weekend, synced to a bucket."""

    def settings(folder: Path, bucket: str) -> Settings:
        return settings_in(
            folder,
            demo_weekend[0],
            use_s3_data=True,
            bucket=bucket,
            lake_prefix="season/one",
            s3_endpoint_url=s3_server.endpoint,
            aws_access_key_id=s3_server.access_key_id,
            aws_secret_access_key=s3_server.secret_access_key,
        )

    def build(folder: Path) -> tuple[str, SyncOutcome]:
        bucket = f"demo-{uuid4().hex[:12]}"
        s3_server.client().create_bucket(Bucket=bucket)
        with pytest.MonkeyPatch.context() as patch:
            forget_settings(patch)
            # Dagster's resources read the keys from here, because run configurations never contain a secret.
            patch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key_id)
            patch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_access_key)
            return bucket, sync(settings(folder, bucket), ignore)

    shared, (bucket, outcome) = shared_run.once("demo-bucket", build)
    return SyncedLake(settings(_process_folder(shared_run, shared), bucket), outcome)


@pytest.fixture(scope="session")
def derived_lake(shared_run: SharedRun, demo_weekend: tuple[Path, GroundTruth]) -> Path:
    """A folder with the weekend (``files``) and a lake derived from it without Dagster (``lake``); read-only."""

    def build(folder: Path) -> None:
        shutil.copytree(demo_weekend[0], folder / "files")
        publish_folder(open_lake(folder / "lake"), folder / "files", folder / "scratch")

    folder, _ = shared_run.once("derived", build)
    return folder


def _run_demo(folder: Path) -> SyncOutcome:
    outcomes: list[SyncOutcome] = []

    def sync_and_record(*arguments: object) -> SyncOutcome:
        outcomes.append(sync(*arguments))  # type: ignore[arg-type]  # forwarded unchanged
        return outcomes[-1]

    with pytest.MonkeyPatch.context() as patch:
        forget_settings(patch)  # session fixtures are set up before the test's clean environment
        patch.chdir(folder)
        patch.setenv("APEX_LAKE_DIR", _LAKE)
        patch.setattr("sys.argv", ["apex", "demo", "--megabytes", "2", "--telemetry-holes"])
        patch.setattr("apex_pipeline.cli.pipeline.sync", sync_and_record)
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    return outcomes[0]


def _process_folder(run: SharedRun, shared: Path) -> Path:
    """Copy a shared folder for this process, inside the run's folder because hard links need the same file system."""
    own = Path(tempfile.mkdtemp(prefix=f"{shared.name}-", dir=run.folder))
    shutil.copytree(shared, own, ignore=lambda folder, _: [_LAKE] if Path(folder) == shared else [], dirs_exist_ok=True)
    if (shared / _LAKE).is_dir():
        shutil.copytree(shared / _LAKE, own / _LAKE, copy_function=os.link)
    return own
