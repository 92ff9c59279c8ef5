"""Keeps synthetic races and real ones in different lakes; see pipeline.py for the commands that write to them.

A demo lake has a marker. The demo writes to ``demo-lake`` unless ``APEX_LAKE_DIR`` names another folder.
"""

from contextlib import suppress
from pathlib import Path

from apex_pipeline.demo.options import ground_truth_path
from apex_pipeline.demo.tracks import TRACKS
from apex_pipeline.errors import ConfigurationError, StoreCorruptionError, StorePermissionError
from apex_pipeline.lake.rollups import is_session_record, list_records, session_of
from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.settings import Settings, load_settings, setting_sources
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store
from apex_pipeline.storage.layout import INTERNAL_PREFIX

DEMO_LAKE = Path("demo-lake")
_MARKER_KEY = f"{INTERNAL_PREFIX}demo.json"


def demo_settings(folder: Path) -> Settings:
    """Return the settings of a demo with its raw files in a folder; its lake is always a local one of its own."""
    is_given = "APEX_LAKE_DIR" in setting_sources()
    lake = {} if is_given else {"lake_dir": DEMO_LAKE}
    return load_settings(source_dir=folder, source_uri=None, use_s3_data=False, **lake)


def mark_demo_lake(settings: Settings) -> None:
    """Mark a lake as one of synthetic races.

    Raises:
        ConfigurationError: It contains real races.
    """
    store = open_store(settings, for_writing=True)
    if not _is_demo_lake(store) and _has_other_races(store):
        raise ConfigurationError(
            f"The lake {store.uri} already contains other races.",
            f"Give the demo a lake of its own: leave APEX_LAKE_DIR unset, which makes it {DEMO_LAKE}.",
        )
    store.write_bytes(_MARKER_KEY, b'{"races": "synthetic"}\n')


def refuse_mixture(settings: Settings) -> None:
    """Refuse to sync real races into a demo lake, or synthetic ones into a lake of real ones.

    A lake without races becomes a demo lake with the first synthetic ones.

    Raises:
        ConfigurationError: The source folder and the lake do not belong together.
    """
    is_synthetic = settings.source_uri is None and ground_truth_path(settings.source_dir).is_file()
    if not settings.use_s3_data and not settings.lake_dir.is_dir():
        if is_synthetic:
            mark_demo_lake(settings)
        return  # a new lake may become either
    store = open_store(settings, for_writing=False)
    if _is_demo_lake(store) and not is_synthetic:
        raise ConfigurationError(
            f"The lake {store.uri} contains the synthetic races of `apex demo`, and {settings.source} is not one.",
            "Set APEX_LAKE_DIR to another folder, or leave it unset.",
        )
    if is_synthetic and not _is_demo_lake(store) and _has_other_races(store):
        raise ConfigurationError(
            f"{settings.source_dir} contains the synthetic races of `apex demo`, and the lake {store.uri} real ones.",
            f"Set APEX_LAKE_DIR={DEMO_LAKE}, or another lake of its own.",
        )
    if is_synthetic and not _is_demo_lake(store):
        with suppress(StorePermissionError):  # reported by the sync, with the session that it concerns
            mark_demo_lake(settings)


def _is_demo_lake(store: ObjectStore) -> bool:
    return store.head(_MARKER_KEY) is not None


def _has_other_races(store: ObjectStore) -> bool:
    """Return whether a lake without a marker has races that are not those of a demo by an earlier version."""
    demo = {track.slug for track in TRACKS}
    try:
        snapshot = read_current(store)
        keys = snapshot.keys if snapshot else ()
    except StoreCorruptionError:
        # The sync repairs it, so it must not be refused here; the records say as well which races there are.
        keys = [session_of(key) for key in list_records(store) if is_session_record(key)]
    return bool({key.track for key in keys} - demo)
