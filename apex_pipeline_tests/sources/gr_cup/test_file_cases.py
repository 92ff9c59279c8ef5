"""Files of one real race as strangers wrote them: each gives the tables of the original, or is refused with a word.

The cases are next to the real data, with a list of their right values; each holds only the files that differ.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apex_pipeline.ingest.source_folder import identify, scan_folder
from apex_pipeline.settings import load_settings
from apex_pipeline.sources.base import FileStatus
from apex_pipeline.sources.gr_cup.source import GrCup
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.tables.session_key import SessionKey

_RACE = Path("sebring", "Sebring", "Race 1")
_KEY = SessionKey("sebring", "R1")
_SECTIONS = "23_AnalysisEnduranceWithSections_Race {race}_Anonymized.CSV"
_CASES = (
    *("decimal_comma_sections", "dst_end", "excel_all", "excel_laptime", "float_numbers", "ids_two_digits"),
    *("index_column", "index_column_official", "laptime_ms", "lower_case_header", "mixed_case_ids", "na_nan"),
    *("na_one_column", "na_pd", "na_sql", "name_dot_txt", "one_sector_nan", "one_typo_huge", "one_typo_minute"),
    *("processed_no_meta", "quoted_newline", "sep_line"),
)
_TELEMETRY_CASES = ("telemetry_crcrlf", "telemetry_other_id", "thousands_telemetry")


@dataclass(frozen=True)
class Derived:
    """The tables of a case, and the reasons of the files that were set aside."""

    tables: Mapping[str, pd.DataFrame]
    aside: Mapping[str, str]

    @property
    def valid(self) -> pd.DataFrame:
        laps = self.tables["laps"]
        return laps[laps["is_valid"]]


def derive(
    real_data: Path,
    tmp_path: Path,
    case: str | None,
    *,
    has_telemetry: bool = False,
    change: Callable[[Path], None] | None = None,
) -> Derived:
    """Lay a case over the original race, change its folder, and derive its tables as a sync does."""
    root = tmp_path / "source"
    layers = [real_data / "grcup" / _RACE, *([real_data / "grcup_rebuilt" / _RACE] if has_telemetry else [])]
    layers += [real_data.parent / "cases" / "files" / case / "sebring" / "Race 1"] if case else []
    for layer in layers:
        shutil.copytree(layer, root / _RACE, dirs_exist_ok=True, copy_function=shutil.copyfile)
    if change:
        change(root / _RACE)
    identities = identify(scan_folder(root), load_settings())
    ready = [item for item in identities if item.status is FileStatus.READY and item.session == _KEY.session]
    source, tables = GrCup(), dict[str, pd.DataFrame]()
    rules = source.load_rules(load_settings())
    workspace = Workspace(1_000_000_000, tmp_path)
    for item in source.derive(_KEY, ready, lambda path: (root / path).open("rb"), workspace, rules):
        content = item.content
        table: pa.Table = content if isinstance(content, pa.Table) else pq.ParquetFile(content).read()
        tables[item.table.name] = table.to_pandas()
    known = {FileStatus.READY, FileStatus.IGNORED}
    aside = {Path(item.path).name: item.reason or "" for item in identities if item.status not in known}
    return Derived(tables, aside)


def assert_as_base(derived: Derived) -> None:
    laps, valid = derived.tables["laps"], derived.valid
    assert (laps["vehicle_id"].nunique(), len(laps), len(valid)) == (21, 400, 382)
    best = valid.nsmallest(1, "lap_time_s").iloc[0]
    assert (best["lap_time_s"], best["car_number"], best["lap_number"]) == (pytest.approx(145.437), "13", 4)
    assert [len(derived.tables[name]) for name in ("official_laps", "results", "weather")] == [401, 44, 45]
    assert set(valid["car_number"]) <= set(derived.tables["results"]["car_number"])
    assert valid["lap_time_s"].max() < 240


@pytest.mark.slow
@pytest.mark.parametrize("case", [None, *_CASES])
def test_a_race_written_in_another_way_gives_the_same_tables(real_data: Path, tmp_path: Path, case: str | None) -> None:
    assert_as_base(derive(real_data, tmp_path, case))


@pytest.mark.slow
@pytest.mark.parametrize("case", _TELEMETRY_CASES)
def test_telemetry_written_in_another_way_has_the_same_laps(real_data: Path, tmp_path: Path, case: str) -> None:
    derived = derive(real_data, tmp_path, case, has_telemetry=True)
    assert_as_base(derived)
    samples = derived.tables["telemetry"]
    assert samples["lap_number"].notna().mean() == pytest.approx(0.28, abs=0.01)
    assert samples["engine_rpm"].max() > 7_000


def test_one_typo_is_flagged_and_the_witnesses_count(real_data: Path, tmp_path: Path) -> None:
    laps = derive(real_data, tmp_path, "one_typo_minute").tables["laps"]
    (lap,) = (row for row in laps.to_dict("records") if "official_disagrees" in row["flags"])
    assert (lap["is_valid"], lap["lap_time_s"]) == (True, pytest.approx(145.913))
    assert lap["confidence"] < 0.9


def test_a_sector_that_cannot_be_read_costs_that_cell(real_data: Path, tmp_path: Path) -> None:
    base, case = (derive(real_data, tmp_path / str(name), name).tables for name in (None, "one_sector_nan"))
    assert case["official_laps"]["s2_s"].isna().sum() == base["official_laps"]["s2_s"].isna().sum() + 1


def test_times_without_a_zone_are_told_once_per_file(real_data: Path, tmp_path: Path) -> None:
    rejects = derive(real_data, tmp_path, "time_naive").tables["lap_rejects"]
    assert rejects["source_file"].is_unique
    assert rejects["detail"].str.contains("zone").all()


def test_a_table_that_somebody_derived_is_set_aside(real_data: Path, tmp_path: Path) -> None:
    assert "derived" in derive(real_data, tmp_path, "processed_no_meta").aside["sebring_R1_lap_times.csv"]


@pytest.mark.parametrize("suffix", ["_Corrected", " corrected", "_CORRECTED 2"])
def test_a_corrected_file_in_the_place_of_the_old_one_counts(real_data: Path, tmp_path: Path, suffix: str) -> None:
    def correct(folder: Path) -> None:
        old = folder / _SECTIONS.format(race=1)
        new = old.with_name(f"{old.stem}{suffix}{old.suffix}")
        # The best lap time was a tenth too fast.
        new.write_bytes(old.read_bytes().replace(b";2:25.437;", b";2:25.537;"))
        old.unlink()

    derived = derive(real_data, tmp_path, None, change=correct)

    official = derived.tables["official_laps"]
    assert len(official) == 401
    assert official["source_file"].str.contains(suffix, regex=False).all()
    assert official["lap_time_s"].min() == pytest.approx(145.537)


@pytest.mark.parametrize("name", ["23_AnalysisEnduranceWithSections_Race 1_A.CSV", "23_Z_Race 1.CSV"])
def test_of_two_files_that_contradict_each_other_the_one_that_fits_the_crossings_counts(
    real_data: Path, tmp_path: Path, name: str
) -> None:
    other_race = real_data / "grcup" / _RACE.parent / "Race 2" / _SECTIONS.format(race=2)

    derived = derive(real_data, tmp_path, None, change=lambda folder: _copy(other_race, folder / name))

    assert_as_base(derived)
    rejects = derived.tables["official_rejects"]
    left_out = rejects[rejects["reason"] == "unreadable_file"]
    assert [Path(path).name for path in left_out["source_file"]] == [name]


def _copy(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes())
