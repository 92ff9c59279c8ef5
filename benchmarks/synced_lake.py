"""Creates a lake with a real sync, for benchmarks that need published data."""

import os
from pathlib import Path

from apex_pipeline.orchestration.command_sync import sync
from apex_pipeline.settings import Settings, load_settings


def sync_into(folder: Path) -> Settings:
    """Sync the race files below ``folder/source`` to a new lake next to it.

    Returns:
        The settings of this lake.
    """
    home = folder / "dagster"
    os.environ["DAGSTER_HOME"] = str(home)
    settings = load_settings(
        source_dir=folder / "source",
        lake_dir=folder / "lake",
        state_dir=folder / "state",
        dagster_home=home,
        use_s3_data=False,
    )
    outcome = sync(settings, lambda _: None)
    if outcome.failures or not outcome.derived:
        raise SystemExit(f"The session could not be derived: {outcome}")
    return settings
