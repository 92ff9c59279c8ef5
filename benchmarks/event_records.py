"""Measures reading XML events: CPU per MB and peak memory, against parsers that only parse, each in its own process.

    python benchmarks/event_records.py --folder /path/with/3-GB [--events 20000] [--large-mb 990]

``records`` is the whole work: reading, mapping, JSON, Parquet. The other engines parse the document and keep nothing.
Every round runs all of them one after the other, so that a busy machine is equally busy for all.
"""

import argparse
import random
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from measuring import measure

_PROJECT = Path(__file__).resolve().parents[1]
_FIELDS = 33
_MB = 1e6

# Each defines run(path) → number of events; imports are not measured.
_ENGINES = {
    "records": """
from pathlib import Path
from apex_pipeline.events.days import DayWriter, delivered_files
from apex_pipeline.events.event_keys import DayKey
from apex_pipeline.sources.events.mapping import SourceMapping
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.local import LocalStore
def run(path):
    folder = Path(path).parent
    cache = DigestCache(folder.parent / "digests.sqlite")
    store, lake = LocalStore(folder, cache), LocalStore(folder.parent / "lake", cache)
    lake.prepare_for_writing()
    ((day, files),) = delivered_files(store, "").items()
    return DayWriter(store, lake, SourceMapping(), folder.parent).write(DayKey("bench", day.isoformat()), files).records
""",
    "events only": """
from apex_pipeline.sources.events.reader import read_events
def run(path):
    with open(path, "rb") as file:
        return sum(1 for _ in read_events(file))
""",
    "ElementTree": """
import xml.etree.ElementTree as ET
def run(path):
    return len(ET.parse(path).getroot())
""",
    "ElementTree iterparse": """
import xml.etree.ElementTree as ET
def run(path):
    count = 0
    for _, element in ET.iterparse(path):
        if element.tag == "EVENT":
            count += 1
            element.clear()
    return count
""",
    "lxml iterparse": """
import lxml.etree
def run(path):
    count = 0
    for _, element in lxml.etree.iterparse(path, tag="EVENT"):
        count += 1
        element.clear()
        while element.getprevious() is not None:
            del element.getparent()[0]
    return count
""",
}
_MEASURED = """
import sys, time
started = time.process_time()
print(run(sys.argv[1]), time.process_time() - started)
"""
# Whole documents in memory: not for the large file.
_STREAMING = ("records", "events only", "ElementTree iterparse", "lxml iterparse")


def main() -> None:
    """Measure and print two tables."""
    options = _options()
    folder = Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    small = folder / "small" / "20250729_161500.xml"
    size = _write(small, options.events)
    print(f"{options.events:,} events of {_FIELDS} fields, {size / _MB:.1f} MB; median of {options.rounds} rounds")
    _compare(tuple(_ENGINES), small, options.rounds, options.events)
    if options.large_mb:
        large = folder / "large" / "20250729_161500.xml"
        events = int(options.events * options.large_mb * _MB / size)
        print(f"\n{events:,} events, {_write(large, events) / _MB:.0f} MB")
        _compare(_STREAMING, large, 1, events)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True, help="Folder for the files that are made and read.")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large-mb", type=int, default=0, help="Size of a second file, for its peak memory.")
    return parser.parse_args()


def _write(path: Path, events: int) -> int:
    """Write a file of events of 2.1 KB and return its size."""
    path.parent.mkdir(exist_ok=True)
    rnd = random.Random(16)  # noqa: S311  -- repeatable
    with path.open("w", encoding="utf-8") as file:
        file.write('<?xml version="1.0" encoding="UTF-8"?>\n<EVENTS>\n')
        for number in range(events):
            values = (_words(rnd) if index % 2 else f"{rnd.uniform(0, 300):.3f}" for index in range(_FIELDS))
            fields = "".join(f"  <FIELD{index:02}>{value}</FIELD{index:02}>\n" for index, value in enumerate(values))
            file.write(f'<EVENT id="{number}" time="2025-07-29T16:15:00Z">\n{fields}</EVENT>\n')
        file.write("</EVENTS>\n")
    return path.stat().st_size


def _words(rnd: random.Random) -> str:
    return " ".join(rnd.choices(("sector", "pit", "lap", "flag", "green", "yellow", "tyre", "driver", "class"), k=12))


def _compare(engines: Sequence[str], path: Path, rounds: int, events: int) -> None:
    """Run the engines in turn, round by round, and print a table of them."""
    results: dict[str, list[tuple[float, float]]] = {engine: [] for engine in engines}
    for _ in range(rounds):
        for engine in engines:
            results[engine].append(_measured(engine, path, events))
    size = path.stat().st_size
    print("| engine | CPU s | MB per CPU s | peak MB |\n| --- | --- | --- | --- |")
    for engine, found in results.items():
        cpu_s = statistics.median(cpu_s for cpu_s, _ in found)
        print(f"| {engine} | {cpu_s:.2f} | {size / _MB / cpu_s:.0f} | {max(peak for _, peak in found):.0f} |")


def _measured(engine: str, path: Path, events: int) -> tuple[float, float]:
    """Return the CPU seconds of an engine and the peak memory of its process in MB."""
    command = [sys.executable, "-c", _ENGINES[engine] + _MEASURED, str(path)]
    measurement, printed = measure(command, path.parent, {"PYTHONPATH": str(_PROJECT)})
    count, cpu_s = printed.split()
    if int(count) != events:
        raise SystemExit(f"{engine} found {count} of {events} events")
    return float(cpu_s), measurement.peak_mb


if __name__ == "__main__":
    main()
