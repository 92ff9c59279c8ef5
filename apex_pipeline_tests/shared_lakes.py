"""Lakes that are made once per run of the tests, with what they were made from.

Contains how they are made and what a process gets of them; see shared_run.py for the lock. A process gets its own
folder: lake objects as hard links, as the catalog knows a file by its inode too and a copy would count as changed, and
everything else (SQLite databases among it) as copies. Objects are replaced by renaming and never written in place; a
test that damages one works on a copy of the lake.
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
from apex_pipeline.orchestration.sync import SyncEvent, SyncOutcome, sync
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store
from apex_pipeline_tests.environment import forget_settings
from apex_pipeline_tests.lake.derived import open_lake, publish_folder
from apex_pipeline_tests.servers.s3_server import S3Server
from apex_pipeline_tests.shared_run import SharedRun

_OPTIONS = WeekendOptions(target_bytes=2_000_000)
# As `apex demo` calls them.
_SOURCE, _LAKE, _DAGSTER_HOME, _STATE = "demo-weekend", "lake", ".dagster", ".apex"


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


def ignore(_event: SyncEvent) -> None:
    """Listen to nothing."""


def settings_in(folder: Path, source: Path, **overrides: object) -> Settings:
    """Return settings that keep everything of a sync in one folder."""
    return load_settings(
        source_dir=source,
        lake_dir=folder / _LAKE,
        dagster_home=folder / _DAGSTER_HOME,
        state_dir=folder / _STATE,
        **overrides,
    )


@pytest.fixture(scope="session")
def demo_weekend(shared_run: SharedRun) -> tuple[Path, GroundTruth]:
    """A synthetic weekend of 2 MB and its answers; for reading only."""
    folder, sheet = shared_run.once("weekend", lambda folder: make_weekend(folder / _SOURCE, _OPTIONS))
    return folder / _SOURCE, sheet


@pytest.fixture(scope="session")
def demo_folder(shared_run: SharedRun) -> tuple[Path, SyncOutcome]:
    """A folder in which `apex demo` was run: demo-weekend, lake, .dagster, .apex; and what the sync found and did."""
    made, outcome = shared_run.once("demo", _run_demo)
    return _own_folder(shared_run, made), outcome


@pytest.fixture(scope="session")
def demo_lake(demo_folder: tuple[Path, SyncOutcome]) -> SyncedLake:
    """The lake of the demo folder."""
    folder, outcome = demo_folder
    return SyncedLake(settings_in(folder, folder / _SOURCE), outcome)


@pytest.fixture(scope="session")
def demo_bucket_lake(shared_run: SharedRun, demo_weekend: tuple[Path, GroundTruth], s3_server: S3Server) -> SyncedLake:
    """The same weekend, synced into a bucket."""

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
            # Dagster's resources take the key from here: what settings hold as a secret is in no run's configuration.
            patch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key_id)
            patch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_access_key)
            return bucket, sync(settings(folder, bucket), ignore)

    made, (bucket, outcome) = shared_run.once("demo-bucket", build)
    return SyncedLake(settings(_own_folder(shared_run, made), bucket), outcome)


@pytest.fixture(scope="session")
def derived_lake(shared_run: SharedRun, demo_weekend: tuple[Path, GroundTruth]) -> Path:
    """A folder with the weekend (``files``) and a lake made from it without Dagster (``lake``); for reading only."""

    def build(folder: Path) -> None:
        shutil.copytree(demo_weekend[0], folder / "files")
        publish_folder(open_lake(folder / "lake"), folder / "files", folder / "scratch")

    folder, _ = shared_run.once("derived", build)
    return folder


def _run_demo(folder: Path) -> SyncOutcome:
    outcomes: list[SyncOutcome] = []

    def sync_and_note(*arguments: object) -> SyncOutcome:
        outcomes.append(sync(*arguments))  # type: ignore[arg-type]  # passed on as they come
        return outcomes[-1]

    with pytest.MonkeyPatch.context() as patch:
        forget_settings(patch)  # a fixture of the session is made before the test's own clean environment
        patch.chdir(folder)
        patch.setattr("sys.argv", ["apex", "demo", "--megabytes", "2"])
        patch.setattr("apex_pipeline.cli.pipeline.sync", sync_and_note)
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    return outcomes[0]


def _own_folder(run: SharedRun, made: Path) -> Path:
    """Return this process's own form of a folder; below the run's, as hard links need one file system."""
    own = Path(tempfile.mkdtemp(prefix=f"{made.name}-", dir=run.folder))
    shutil.copytree(made, own, ignore=lambda folder, _: [_LAKE] if Path(folder) == made else [], dirs_exist_ok=True)
    if (made / _LAKE).is_dir():
        shutil.copytree(made / _LAKE, own / _LAKE, copy_function=os.link)
    return own
