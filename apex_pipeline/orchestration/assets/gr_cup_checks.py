"""Contains the checks of GR Cup tables: no reading is lost, laps are plausible, and the quality is good enough."""

from itertools import pairwise

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from apex_pipeline.lake.reconciliation import count_cells, read_counts
from apex_pipeline.orchestration.checks import SessionTables, TableCheck
from apex_pipeline.sources.gr_cup.accuracy import missing_official_laps
from apex_pipeline.sources.gr_cup.quality import worst_scores
from apex_pipeline.tables import CARS, LAPS, OFFICIAL_LAPS, QUALITY, TELEMETRY, TELEMETRY_CARS

# Most laps of a race are valid; a session with a lower share needs a manual check.
_LOWEST_VALID_SHARE = 0.5

# Number of findings listed in the UI; all are counted.
_SHOWN = 10

# Name and description of the check of each measure of the table ``quality``.
_QUALITY_WORDS = {
    "duplicates": ("few_readings_sent_twice", "Hardly any telemetry reading was sent twice."),
    "backward_time": ("car_clocks_run_forward", "No car's clock stood still or contradicts the receive times."),
    "gaps": ("telemetry_without_holes", "Telemetry of every car has no long hole and covers its race."),
    "missing_channels": ("every_channel_recorded", "Every car recorded the channels that the others recorded."),
    "lap_coverage": ("every_lap_recorded", "The lap files have the crossings of every official lap."),
    "official_mismatch": (
        "lap_times_agree_with_official",
        "The cars' own lap times are within half a second of official timing.",
    ),
}


def _every_reading_accounted_for(tables: SessionTables) -> dg.AssetCheckResult:
    """Compare the number of cells in the file with the readings counted by the conversion."""
    with tables.open(TELEMETRY) as path, path.open("rb") as stream:
        cells, counted = count_cells(stream), read_counts(stream)
    if counted is None:
        return dg.AssetCheckResult(passed=False, metadata={"problem": "the file does not record its readings"})
    total = cells + counted["exact_duplicates"] + counted["rejected"]
    if not total and not counted["readings_in"]:
        return tables.without_rows(TELEMETRY)
    return dg.AssetCheckResult(passed=total == counted["readings_in"], metadata={"cells_in_file": cells, **counted})


def _sample_times_explained(tables: SessionTables) -> dg.AssetCheckResult:
    """Count the rows of telemetry whose time is not explained by clock and receive time."""
    cars = tables.read(TELEMETRY_CARS)
    if not cars.num_rows:
        return tables.without_rows(TELEMETRY_CARS)
    # Every piece of a clock has a row, and each of them has the number of the car.
    by_car = {row["vehicle_id"]: row["unexplained_rows"] or 0 for row in cars.to_pylist()}
    worst = pc.max(cars["clock_residual_s"]).as_py()
    return dg.AssetCheckResult(
        passed=not any(by_car.values()),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "unexplained_rows": sum(by_car.values()),
            "cars": ", ".join(car for car, rows in by_car.items() if rows) or "none",
            "largest_residual_s": worst if worst is not None else "not measured",
        },
    )


def _laps_do_not_overlap(tables: SessionTables) -> dg.AssetCheckResult:
    """Compare each lap's start with the end of the previous lap."""
    laps = tables.read(LAPS)
    if not laps.num_rows:
        return tables.without_rows(LAPS)
    overlapping = count_overlaps(laps)
    return dg.AssetCheckResult(
        passed=overlapping == 0, metadata={"laps": laps.num_rows, "overlapping_laps": overlapping}
    )


def _most_laps_are_valid(tables: SessionTables) -> dg.AssetCheckResult:
    """Count the valid laps; a low share suggests a broken export."""
    laps = tables.read(LAPS)
    if not laps.num_rows:
        return tables.without_rows(LAPS)
    valid = pc.sum(laps.column("is_valid")).as_py() or 0
    return dg.AssetCheckResult(
        passed=valid >= _LOWEST_VALID_SHARE * laps.num_rows,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"laps": laps.num_rows, "valid_laps": valid},
    )


def _official_laps_complete(tables: SessionTables) -> dg.AssetCheckResult:
    """Compare the laps of each car with its official laps."""
    official = tables.read(OFFICIAL_LAPS)
    if not official.num_rows:
        return tables.without_rows(OFFICIAL_LAPS)
    laps = tables.read(LAPS).select(["vehicle_id", "official_lap_number", "lap_time_s"])
    cars = tables.read(CARS).select(["vehicle_id", "official_number", "official_entry"])
    of_cars = official.select(["car_number", "entry", "lap_number", "lap_time_s"])
    missing = missing_official_laps(laps.to_pylist(), cars.to_pylist(), of_cars.to_pylist())
    return dg.AssetCheckResult(
        passed=not missing,
        metadata={
            "official_laps": official.num_rows,
            "missing_or_repeated": len(missing),
            "first": "; ".join(missing[:_SHOWN]),
        },
    )


def _quality_check(measure: str) -> TableCheck:
    name, description = _QUALITY_WORDS[measure]

    def evaluate(tables: SessionTables) -> dg.AssetCheckResult:
        quality = tables.read(QUALITY)
        scored = quality.filter(pc.equal(quality["measure"].cast(pa.string()), measure))
        levels = scored["level"].cast(pa.string()).to_pylist()
        findings = "\n".join(f"- {sentence}" for sentence in worst_scores(scored))
        to_check = {row["vehicle_id"] for row in scored.to_pylist() if row["scope"] == "car" and row["level"] != "ok"}
        return dg.AssetCheckResult(
            passed=set(levels) == {"ok"},
            severity=dg.AssetCheckSeverity.ERROR if "error" in levels else dg.AssetCheckSeverity.WARN,
            metadata={"cars_to_check": len(to_check), "findings": dg.MetadataValue.md(findings or "none")},
            description=None if levels else f"Not checked: nothing was scored for {measure}.",
        )

    return TableCheck(QUALITY, name, description, is_blocking=False, evaluate=evaluate)


def count_overlaps(laps: pa.Table) -> int:
    """Return the number of laps that start before the car's previous lap ends, or end before they start."""
    compared = laps.select(["vehicle_id", "lap_number", "lap_start_utc", "lap_end_utc"])
    rows = sorted(compared.to_pylist(), key=lambda row: (row["vehicle_id"], row["lap_number"]))
    wrong = sum(
        row["lap_end_utc"] < row["lap_start_utc"] for row in rows if row["lap_start_utc"] and row["lap_end_utc"]
    )
    for previous, lap in pairwise(rows):
        same_car = previous["vehicle_id"] == lap["vehicle_id"]
        if same_car and previous["lap_end_utc"] and lap["lap_start_utc"]:
            wrong += lap["lap_start_utc"] < previous["lap_end_utc"]
    return wrong


GR_CUP_CHECKS = [
    TableCheck(
        TELEMETRY,
        "every_reading_accounted_for",
        "Readings in the raw files equal cells in the table plus exact duplicates plus rejected readings.",
        is_blocking=True,
        evaluate=_every_reading_accounted_for,
    ),
    TableCheck(
        TELEMETRY_CARS,
        "sample_times_explained",
        "Clock and receive time explain within 2 s when each row of telemetry was sampled.",
        is_blocking=False,
        evaluate=_sample_times_explained,
    ),
    TableCheck(
        LAPS,
        "laps_do_not_overlap",
        "No two laps of a car overlap, and no lap ends before it starts.",
        is_blocking=True,
        evaluate=_laps_do_not_overlap,
    ),
    TableCheck(
        LAPS,
        "most_laps_are_valid",
        "At least half of the laps are valid.",
        is_blocking=False,
        evaluate=_most_laps_are_valid,
    ),
    TableCheck(
        LAPS,
        "official_laps_complete",
        "Every official lap of a car with a known number is among its laps exactly once, with the official time.",
        is_blocking=True,
        evaluate=_official_laps_complete,
    ),
    *map(_quality_check, _QUALITY_WORDS),
]
