"""A lake made by a real sync, for the benchmarks that measure what comes after it."""

import os
from pathlib import Path

from apex_pipeline.orchestration.sync import sync
from apex_pipeline.settings import Settings, load_settings


def sync_into(folder: Path) -> Settings:
    """Sync the race files below ``folder/source`` into a lake of their own beside it.

    Returns:
        The settings that lead to this lake.
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
