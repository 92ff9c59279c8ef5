"""Contains the assets, one file per stage of the data flow.

Maps each source to its assets. A source without assets of its own gets one asset that runs its derivation.
"""

import dagster as dg

from apex_pipeline.orchestration.assets.gr_cup import GR_CUP_ASSETS
from apex_pipeline.orchestration.assets.source_tables import build_source_asset
from apex_pipeline.sources.base import Source
from apex_pipeline.sources.gr_cup.kinds import SOURCE_NAME as GR_CUP

_OWN_ASSETS: dict[str, list[dg.AssetsDefinition]] = {GR_CUP: GR_CUP_ASSETS}


def assets_of(source: Source) -> list[dg.AssetsDefinition]:
    """Return the assets that derive a session of this source."""
    return _OWN_ASSETS.get(source.name) or [build_source_asset(source)]
