"""Prints the reliability table of docs/laps.md, for all tracks together and with each track alone.

    .venv/bin/python benchmarks/reliability.py /path/to/race/files

Confidence values are shares of right laps, so a track alone shows how well they hold where they were not measured: the
other tracks have most of the laps.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import pyarrow as pa

from apex_pipeline.ingest.source_folder import identify, scan_folder
from apex_pipeline.settings import load_settings
from apex_pipeline.sources.base import FileIdentity, FileStatus
from apex_pipeline.sources.gr_cup.discovery.rules import load_rules
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.laps.derivation import derive_laps
from apex_pipeline.sources.gr_cup.laps.triggers import read_triggers
from apex_pipeline.sources.gr_cup.official_timing import official_laps_table, read_sections
from apex_pipeline.sources.gr_cup.reliability import reliability

_LAP_KINDS = (FileKind.LAP_START, FileKind.LAP_END, FileKind.LAP_TIME)


def main() -> None:
    """Derive every session blind and with official timing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    source: Path = parser.parse_args().source
    files: defaultdict[tuple[str, str], list[FileIdentity]] = defaultdict(list)
    for item in identify(scan_folder(source), load_settings()):
        if item.status is FileStatus.READY and item.track and item.session:
            files[item.track, item.session].append(item)
    derived = {key: _derived(source, key, of_session) for key, of_session in files.items()}
    _print("all tracks", list(derived.values()))
    for track in sorted({track for track, _ in derived}):
        _print(track, [tables for key, tables in derived.items() if key[0] == track])


def _derived(source: Path, key: tuple[str, str], files: list[FileIdentity]) -> tuple[pa.Table, pa.Table]:
    triggers, parsed = [], []
    for item in files:
        with (source / item.path).open("rb") as stream:
            if item.kind in _LAP_KINDS:
                triggers += read_triggers(stream, item)[0]
            elif item.kind is FileKind.SECTIONS:
                parsed.append(read_sections(stream, item))
    official, _ = official_laps_table(*key, parsed)
    zone = load_rules().zone_of(key[0])
    return derive_laps(*key, triggers, None, zone).laps, derive_laps(*key, triggers, official, zone).laps


def _print(name: str, tables: list[tuple[pa.Table, pa.Table]]) -> None:
    print(f"\n{name}\n\n| confidence | laps | within 0.5 s |\n| ---: | ---: | ---: |")
    for item in reliability(tables):
        print(f"| {item.confidence:.2f} | {item.laps:,} | {100 * item.share:.1f} % |")


if __name__ == "__main__":
    main()
