"""Reads the files of the nine real races for the tests of this folder; tables are derived on request."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa

from apex_pipeline.ingest.source_folder import identify, scan_folder
from apex_pipeline.settings import load_settings
from apex_pipeline.sources.base import FileStatus
from apex_pipeline.sources.gr_cup.discovery.rules import load_rules
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.laps.derivation import SessionLaps, derive_laps
from apex_pipeline.sources.gr_cup.laps.triggers import Trigger, read_triggers
from apex_pipeline.sources.gr_cup.official_rows import ParsedFile
from apex_pipeline.sources.gr_cup.official_timing import (
    official_laps_table,
    read_results,
    read_sections,
    read_weather,
    results_table,
)
from apex_pipeline.tables import CARS, LAPS, OFFICIAL_LAPS, RESULTS

BARBER, COTA, ROAD_AMERICA, SEBRING, VIR = (
    "barber_motorsports_park",
    "circuit_of_the_americas",
    "road_america",
    "sebring",
    "virginia_international_raceway",
)
_READERS = {FileKind.SECTIONS: read_sections, FileKind.RESULTS: read_results, FileKind.WEATHER: read_weather}


@dataclass
class Race:
    """Triggers and official timing of one real race, read from its files; its tables are derived once."""

    track: str = ""
    triggers: list[Trigger] = field(default_factory=list[Trigger])
    parsed: defaultdict[FileKind, list[ParsedFile]] = field(default_factory=lambda: defaultdict(list))
    _derived: dict[bool, SessionLaps] = field(default_factory=dict[bool, SessionLaps])

    def official_laps(self) -> pd.DataFrame:
        """Return the table ``official_laps``, checked against its schema."""
        return self.official_table().to_pandas()

    def official_table(self) -> pa.Table:
        """Return the table ``official_laps`` as an Arrow table, checked against its schema."""
        table, merged = official_laps_table("t", "s", self.parsed[FileKind.SECTIONS])
        assert (merged.rejects, OFFICIAL_LAPS.violations(table)) == ([], [])
        return table

    def results(self) -> pd.DataFrame:
        """Return the table ``results``, checked against its schema."""
        table, merged = results_table("t", "s", self.parsed[FileKind.RESULTS])
        assert (merged.rejects, RESULTS.violations(table)) == ([], [])
        return table.to_pandas()

    def derived(self, *, is_blind: bool = False) -> SessionLaps:
        """Derive laps and cars, and check them against their schemas."""
        if is_blind not in self._derived:
            official = None if is_blind else self.official_table()
            derived = derive_laps(self.track, "s", self.triggers, official, load_rules().zone_of(self.track))
            assert (LAPS.violations(derived.laps), CARS.violations(derived.cars)) == ([], [])
            self._derived[is_blind] = derived
        return self._derived[is_blind]

    def laps(self) -> pd.DataFrame:
        """Return the table ``laps`` derived blind, from the cars' own data only."""
        return self.derived(is_blind=True).laps.to_pandas()


Races = dict[tuple[str, str], Race]


def read_races(root: Path) -> Races:
    """Return the races in a folder of raw files, by track and session."""
    found: defaultdict[tuple[str, str], Race] = defaultdict(Race)
    for item in identify(scan_folder(root), load_settings()):
        if item.status is not FileStatus.READY or not item.track or not item.session:
            continue
        race = found[item.track, item.session]
        race.track = item.track
        with (root / item.path).open("rb") as stream:
            if item.kind in {FileKind.LAP_START, FileKind.LAP_END, FileKind.LAP_TIME}:
                triggers, rejects = read_triggers(stream, item)
                assert rejects == []
                race.triggers += triggers
            elif item.kind in _READERS:
                race.parsed[FileKind(item.kind)].append(_READERS[FileKind(item.kind)](stream, item))
    return found
