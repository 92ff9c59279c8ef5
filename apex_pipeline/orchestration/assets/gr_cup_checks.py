"""Contains the checks of GR Cup tables: no reading is lost, laps are plausible, and the quality is good enough.

They read the published file, not the data that the run holds in memory.
"""

from itertools import pairwise

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from apex_pipeline.lake.reconciliation import count_cells, read_counts
from apex_pipeline.lake.tables import read_stored_table
from apex_pipeline.orchestration.checks import partitioned_check
from apex_pipeline.orchestration.partitions import session_key_from
from apex_pipeline.orchestration.resources import LakeResource
from apex_pipeline.sources.gr_cup.accuracy import missing_official_laps
from apex_pipeline.sources.gr_cup.quality import worst_scores
from apex_pipeline.storage.layout import table_key
from apex_pipeline.tables import CARS, LAPS, OFFICIAL_LAPS, QUALITY, QUALITY_MEASURES, TELEMETRY

# Most laps of a race are valid; a session with a lower share needs a manual check.
_LOWEST_VALID_SHARE = 0.5

# Number of findings listed in the UI; all are counted.
_SHOWN = 10


@partitioned_check(
    TELEMETRY,
    "readings_reconcile",
    "Readings in the raw files equal cells in the table plus exact duplicates plus rejected readings.",
    is_blocking=True,
)
def readings_reconcile(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
    """Compare the number of cells in the published file with the readings counted by the conversion."""
    key = table_key(TELEMETRY.folder, TELEMETRY.name, str(session_key_from(context)))
    with lake.open().open_seekable(key) as stream:
        cells, counted = count_cells(stream), read_counts(stream)
    if counted is None:
        return dg.AssetCheckResult(passed=False, metadata={"problem": "the file does not record its readings"})
    total = cells + counted["exact_duplicates"] + counted["rejected"]
    return dg.AssetCheckResult(passed=total == counted["readings_in"], metadata={"cells_in_file": cells, **counted})


@partitioned_check(
    LAPS,
    "laps_do_not_overlap",
    "No two laps of a car overlap, and no lap ends before it starts.",
    is_blocking=True,
)
def laps_do_not_overlap(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
    """Compare each lap's start with the end of the previous lap."""
    laps = read_stored_table(lake.open(), LAPS, session_key_from(context))
    overlapping = count_overlaps(laps) if laps is not None else 0
    return dg.AssetCheckResult(passed=overlapping == 0, metadata={"overlapping_laps": overlapping})


@partitioned_check(LAPS, "most_laps_are_valid", "At least half of the laps are valid.", is_blocking=False)
def most_laps_are_valid(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
    """Count the valid laps; a low share suggests a broken export."""
    laps = read_stored_table(lake.open(), LAPS, session_key_from(context))
    total = laps.num_rows if laps is not None else 0
    valid = pc.sum(laps.column("is_valid")).as_py() if laps is not None and total else 0
    return dg.AssetCheckResult(
        passed=total == 0 or valid >= _LOWEST_VALID_SHARE * total,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"laps": total, "valid_laps": valid or 0},
    )


@partitioned_check(
    LAPS,
    "official_laps_complete",
    "Every official lap of a car with a known number is among its laps exactly once, with the official time.",
    is_blocking=True,
)
def official_laps_complete(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
    """Compare the published laps of each car with its published official laps."""
    store, key = lake.open(), session_key_from(context)
    tables = [read_stored_table(store, table, key) for table in (LAPS, CARS, OFFICIAL_LAPS)]
    missing = missing_official_laps(*(table.to_pylist() if table is not None else [] for table in tables))
    return dg.AssetCheckResult(
        passed=not missing, metadata={"missing_or_repeated": len(missing), "first": "; ".join(missing[:_SHOWN])}
    )


def _quality_check(measure: str) -> dg.AssetChecksDefinition:
    @partitioned_check(QUALITY, measure, f"The session and every car score well in {measure}.", is_blocking=False)
    def scores_well(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        stored = read_stored_table(lake.open(), QUALITY, session_key_from(context))
        quality = stored if stored is not None else QUALITY.empty()
        scored = quality.filter(pc.equal(quality["measure"].cast(pa.string()), measure))
        levels = scored["level"].cast(pa.string()).to_pylist()
        findings = "\n".join(f"- {sentence}" for sentence in worst_scores(scored))
        return dg.AssetCheckResult(
            passed=set(levels) <= {"ok"},
            severity=dg.AssetCheckSeverity.ERROR if "error" in levels else dg.AssetCheckSeverity.WARN,
            metadata={"wanting": len(levels) - levels.count("ok"), "findings": dg.MetadataValue.md(findings or "none")},
        )

    return scores_well


def count_overlaps(laps: pa.Table) -> int:
    """Return the number of laps that start before the car's previous lap ends, or end before they start."""
    rows = sorted(laps.to_pylist(), key=lambda row: (row["vehicle_id"], row["lap_number"]))
    wrong = sum(
        row["lap_end_utc"] < row["lap_start_utc"] for row in rows if row["lap_start_utc"] and row["lap_end_utc"]
    )
    for previous, lap in pairwise(rows):
        same_car = previous["vehicle_id"] == lap["vehicle_id"]
        if same_car and previous["lap_end_utc"] and lap["lap_start_utc"]:
            wrong += lap["lap_start_utc"] < previous["lap_end_utc"]
    return wrong


GR_CUP_CHECKS = [
    readings_reconcile,
    laps_do_not_overlap,
    most_laps_are_valid,
    official_laps_complete,
    *(_quality_check(measure) for measure in QUALITY_MEASURES if measure != "overall"),
]
