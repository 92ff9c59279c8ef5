"""Compares the lookup of one car's lap in a published race with pandas on the raw CSV, in one process, caches warm.

    .venv/bin/python benchmarks/lap_lookup.py --megabytes 1000
    .venv/bin/python benchmarks/lap_lookup.py --lake s3://races

The second form only looks laps up, in a lake that has this race, for example in a bucket. The first generates a
seeded telemetry file of twenty cars with matching lap files, syncs them to a new lake, and reads laps one by one from
the catalog, taking the cars in turn. The baseline is the usual code: ``read_csv`` of the complete file, a filter by
car, lap and channel, and a pivot; once with all columns, once with only the needed ones. Finally one lap is computed
from the CSV independently and must be equal. The bytes read are those counted by the kernel, so this runs on Linux
only. They are not counted for pandas, which may map the CSV into memory and reads all of it.
"""

import argparse
import csv
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from synced_lake import sync_into
from telemetry_engines.contract import FILE_COLUMNS
from telemetry_engines.inputs import write_input

from apex_pipeline.catalog import Catalog, open_catalog

_TRACK, _SESSION = "barber_motorsports_park", "R1"
_FOLDER = "barber"
# Raw channel to published column.
_FOUR = {
    "speed": "speed_kph",
    "pbrake_f": "brake_front_bar",
    "VBOX_Lat_Min": "latitude_deg",
    "VBOX_Long_Minutes": "longitude_deg",
}
_BASELINE_COLUMNS = ["vehicle_id", "lap", "timestamp", "telemetry_name", "telemetry_value"]

# Start of the inputs; the laps continue beyond the end of the largest input.
_START = datetime(2025, 9, 6, 18, 0, tzinfo=UTC)
_FIRST_CROSSING_S, _LAP_S, _CROSSINGS = 10, 97, 100


class Measured(NamedTuple):
    """Measurements of one way to look up a lap.

    Attributes:
        milliseconds: Time of each call.
        bytes_read: Bytes read by each call.
    """

    milliseconds: list[float]
    bytes_read: list[int]


def main() -> None:
    """Run the benchmark and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000, help="approximate size of the CSV; at least 100")
    parser.add_argument("--lookups", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3, help="runs of the baseline")
    parser.add_argument("--lake", help="look laps up in this lake, which has such a race, and compare with nothing")
    arguments = parser.parse_args()
    if arguments.lake:
        _look_up(open_catalog(arguments.lake), arguments.lookups)
        return
    with tempfile.TemporaryDirectory(prefix="apex-benchmark-") as folder:
        source = _write_race(Path(folder, "source", _FOLDER), arguments.megabytes)
        catalog = open_catalog(settings=sync_into(Path(folder)))
        _compare(catalog, source, arguments.lookups, arguments.rounds)


def _look_up(catalog: Catalog, lookups: int) -> None:
    """Print times and requests of lookups in a lake."""
    lap_cycle = itertools.cycle(_laps_with_samples(catalog))
    channels = list(_FOUR.values())
    (record,) = (one.tables["telemetry"] for one in catalog.snapshot.sessions)
    print(f"Parquet {record.bytes / 1e6:,.1f} MB, {record.rows:,} rows\n")
    print("| one lap, four channels | median ms | worst ms | CPU ms | requests |\n| --- | ---: | ---: | ---: | ---: |")
    for name, read, times in (
        ("first lookup, pandas", catalog.telemetry, 1),
        ("pandas", catalog.telemetry, lookups),
        ("Arrow", catalog.telemetry_arrow, lookups),
    ):
        sent, cpu_s = catalog.request_stats, time.process_time()
        measured = _measured(lambda read=read: read(_TRACK, _SESSION, **next(lap_cycle), channels=channels), times)
        used_ms = 1000 * (time.process_time() - cpu_s) / times
        requests = catalog.request_stats.since(sent).requests / times
        took = measured.milliseconds
        print(f"| {name} | {statistics.median(took):.1f} | {max(took):.1f} | {used_ms:.1f} | {requests:.1f} |")


def _write_race(folder: Path, megabytes: int) -> Path:
    """Write telemetry of about this size and the matching lap files; return the telemetry file."""
    folder.mkdir(parents=True)
    source = folder / f"R1_{_FOLDER}_telemetry_data.csv"
    write_input(source, megabytes, seed=7, is_shuffled=False)
    vehicle_ids = pd.read_csv(source, usecols=["vehicle_id"])["vehicle_id"].unique()
    for kind, lap_of_first in (("lap_end", 0), ("lap_start", 1)):
        with (folder / f"R1_{_FOLDER}_{kind}.csv").open("w", encoding="utf-8", newline="") as file:
            names = [name for name in FILE_COLUMNS if not name.startswith("telemetry_")]
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(_crossings(vehicle_ids, lap_of_first))
    return source


def _crossings(vehicle_ids: Iterable[str], lap_of_first: int) -> Iterable[dict[str, object]]:
    for vehicle_id, number in itertools.product(vehicle_ids, range(_CROSSINGS)):
        moment = _START + timedelta(seconds=_FIRST_CROSSING_S + number * _LAP_S)
        text = moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        yield {
            "lap": lap_of_first + number,
            "meta_event": "I_R06_2025-09-07",
            "meta_session": _SESSION,
            "meta_source": "kafka:gr-raw",
            "meta_time": text,
            "original_vehicle_id": vehicle_id,
            "outing": 0,
            "timestamp": text,
            "vehicle_id": vehicle_id,
            "vehicle_number": vehicle_id.split("-")[2],
        }


def _compare(catalog: Catalog, source: Path, lookups: int, rounds: int) -> None:
    laps = _laps_with_samples(catalog)
    if not laps:
        raise SystemExit("The race is shorter than two laps; use at least 200 MB.")
    lap_cycle = itertools.cycle(laps)
    four = list(_FOUR.values())

    def lap(read: Callable[..., object], channels: Sequence[str] | None) -> Callable[[], object]:
        return lambda: read(_TRACK, _SESSION, **next(lap_cycle), channels=channels)

    record = next(iter(catalog.snapshot.sessions)).tables["telemetry"]
    csv_bytes = source.stat().st_size
    print(
        f"CSV {csv_bytes / 1e6:,.0f} MB; Parquet {record.bytes / 1e6:,.1f} MB, {record.rows:,} rows; {len(laps)} laps\n"
    )
    print(
        "| one lap of one car | median ms | worst ms | bytes read | of the file |\n| --- | ---: | ---: | ---: | ---: |"
    )
    _print_line("first lookup, four channels", _measured(lap(catalog.telemetry, four), 1), record.bytes)
    ours = _measured(lap(catalog.telemetry, four), lookups)
    _print_line("four channels, pandas", ours, record.bytes)
    _print_line("four channels, Arrow", _measured(lap(catalog.telemetry_arrow, four), lookups), record.bytes)
    _print_line("all channels, pandas", _measured(lap(catalog.telemetry, None), lookups), record.bytes)
    ratios: list[str] = []
    for name, columns in (("", None), (", five columns", _BASELINE_COLUMNS)):
        baseline = _measured(partial(_baseline, source, columns, str(laps[-1]["vehicle_id"])), rounds)
        _print_line(f"baseline: pandas on the CSV{name}", baseline._replace(bytes_read=[csv_bytes]), csv_bytes)
        ratios.append(f"{statistics.median(baseline.milliseconds) / statistics.median(ours.milliseconds):,.0f} x{name}")
    print(f"\nfour channels, pandas, against the baseline: {'; '.join(ratios)}")
    _require_same(catalog, source, laps[-1])


def _laps_with_samples(catalog: Catalog) -> list[dict[str, Any]]:
    """Return car and number of the laps that telemetry covers, alternating between the cars."""
    laps = catalog.laps(_TRACK, _SESSION).merge(catalog.telemetry_cars(_TRACK, _SESSION), on="vehicle_id")
    covered = laps[
        (laps["lap_start_utc"] >= laps["first_sample_utc"]) & (laps["lap_end_utc"] <= laps["last_sample_utc"])
    ]
    alternating = covered.sort_values(["lap_number", "vehicle_id"])
    return [
        {"vehicle_id": vehicle_id, "lap_number": number}
        for vehicle_id, number in zip(alternating["vehicle_id"], alternating["lap_number"], strict=True)
    ]


def _measured(look_up: Callable[[], object], times: int) -> Measured:
    measured = Measured([], [])
    for _ in range(times):
        before, started = _bytes_read(), time.perf_counter()
        look_up()
        measured.milliseconds.append((time.perf_counter() - started) * 1000)
        measured.bytes_read.append(_bytes_read() - before)
    return measured


def _bytes_read() -> int:
    """Return the bytes this process has read so far, from any source."""
    first, *_ = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(first.removeprefix("rchar:"))


def _baseline(source: Path, columns: list[str] | None, vehicle_id: str) -> pd.DataFrame:
    """Return a lap with the usual pandas code, selected by the device's lap counter."""
    readings = pd.read_csv(source, usecols=columns)
    is_car, is_channel = readings["vehicle_id"] == vehicle_id, readings["telemetry_name"].isin(_FOUR)
    lap = readings[is_car & (readings["lap"] == 1) & is_channel]
    return lap.pivot_table(index="timestamp", columns="telemetry_name", values="telemetry_value")


def _require_same(catalog: Catalog, source: Path, lap: dict[str, Any]) -> None:
    """Compare count and sum of each channel of a lap with the CSV readings between its start and end."""
    laps, clocks = catalog.laps(_TRACK, _SESSION), catalog.telemetry_cars(_TRACK, _SESSION)
    row = laps[(laps["vehicle_id"] == lap["vehicle_id"]) & (laps["lap_number"] == lap["lap_number"])].iloc[0]
    (offset_s,) = clocks[clocks["vehicle_id"] == lap["vehicle_id"]]["clock_offset_s"]
    readings = pd.read_csv(source, usecols=[*_BASELINE_COLUMNS, "meta_time"])
    readings = readings[readings["vehicle_id"] == lap["vehicle_id"]].drop_duplicates()
    sample_times = pd.to_datetime(readings["timestamp"], utc=True) + pd.Timedelta(seconds=offset_s)
    readings = readings[(sample_times >= row["lap_start_utc"]) & (sample_times < row["lap_end_utc"])]
    found = catalog.telemetry(_TRACK, _SESSION, **lap, channels=list(_FOUR.values()))
    for channel, column in _FOUR.items():
        wanted = readings[readings["telemetry_name"] == channel]["telemetry_value"]
        if found[column].count() != len(wanted) or abs(found[column].sum() - wanted.sum()) > 1e-6 * abs(wanted.sum()):
            raise SystemExit(f"{column} of {lap} differs from the CSV")
    print(f"\n{lap} has the CSV readings between its start and end: {len(found):,} rows")


def _print_line(name: str, measured: Measured, size: int) -> None:
    milliseconds, read = measured.milliseconds, max(measured.bytes_read)
    print(
        f"| {name} | {statistics.median(milliseconds):,.2f} | {max(milliseconds):,.2f} | {read:,} "
        f"| {100 * read / size:.2f} % |",
        flush=True,
    )


if __name__ == "__main__":
    main()
