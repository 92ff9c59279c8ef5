"""Adds to every asset what its page shows besides its own description: owner, tags, store, and where its code is.

Applied in one place, so that an asset of a new source has all of it too.
"""

import warnings
from collections.abc import Iterable
from typing import Any

import dagster as dg

from apex_pipeline.settings import Settings

# Who to ask about an asset, by the first part of its group. Teams, not persons: no name is in the code.
_OWNERS = {
    "raw": "team:trackside",
    "lake": "team:race_data",
    "tables": "team:race_engineering",
    "published": "team:race_data",
    "reports": "team:race_engineering",
    "catalog": "team:race_data",
    "events": "team:trackside",
    "races": "team:sim_racing",
}
_ANYBODY = "team:race_data"
# What one partition is; a session where the layer is not named.
_GRAINS = {"events": "source_and_day", "races": "race"}


def described(assets: Iterable[dg.AssetsDefinition | dg.AssetSpec], settings: Settings) -> list[Any]:
    """Return the assets with owner, tags, the kind of their store, and the place of their code.

    Dagster does not export the type of what may be an asset.

    Args:
        assets: The pipeline's assets.
        settings: Say where the lake is.
    """
    store = "s3" if settings.use_s3_data else "filesystem"

    def describe(spec: dg.AssetSpec) -> dg.AssetSpec:
        group = spec.group_name or ""
        layer = group.partition("/")[0]
        # The raw files are where they come from, not in the lake.
        kinds = spec.kinds if layer == "raw" else {*spec.kinds, store}
        grain = _GRAINS.get(layer, "session") if spec.partitions_def else "all_sessions"
        return spec.replace_attributes(
            owners=[_OWNERS.get(layer, _ANYBODY)],
            tags={**spec.tags, "apex/layer": layer, "apex/one_partition_is": grain},
            kinds=kinds,
        )

    return _with_code_references(dg.map_asset_specs(describe, assets))


def _with_code_references(assets: Iterable[dg.AssetsDefinition | dg.AssetSpec]) -> list[Any]:
    """Return the assets with the file and line of their function.

    This is beta in Dagster 1.13. It is used only here, and this is the only warning ignored.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        return [*dg.with_source_code_references(list(assets))]
