"""A downsampled copy of a race folder: fewer samples, all other files unchanged, the same laps."""

import gzip
import os
from pathlib import Path

import pyarrow as pa
import pytest

from apex_pipeline.demo import GroundTruth
from apex_pipeline.errors import ConfigurationError, FileChangedError
from apex_pipeline.export.downsample import DownsampleReport, downsample_folder
from apex_pipeline.ingest.source_folder import SourceFolder, identify, scan_folder
from apex_pipeline.lake.tables import require_session, require_snapshot, session_table
from apex_pipeline.settings import load_settings
from apex_pipeline.sources.base import DownsampleStats
from apex_pipeline.tables import LAPS
from apex_pipeline_tests.lake.conftest import open_lake
from apex_pipeline_tests.lake.derived import publish_folder

pytestmark = pytest.mark.req("A-118")

_TELEMETRY = "harbor_street_circuit/R1_harbor_telemetry_data.csv"
_HEADER = "meta_session,meta_time,telemetry_name,telemetry_value,timestamp,vehicle_id,lap\n"


def _downsample(source: Path, target: Path, every: int = 10) -> DownsampleReport:
    folder = scan_folder(source)
    return downsample_folder(folder, identify(folder, load_settings()), target, every)


def _rows(number: int) -> str:
    times = [f"2025-09-06T18:40:{second:02}.000Z" for second in range(number)]
    return "".join(f"R1,{time},speed,1.5,{time},GR86-002-2,3\n" for time in times)


def _race_folder(base: Path, name: str, content: bytes) -> Path:
    """Return a source folder with one telemetry file of one race."""
    (base / "source" / "barber").mkdir(parents=True)
    (base / "source" / "barber" / name).write_bytes(content)
    return base / "source"


def test_all_race_files_except_telemetry_are_copied_byte_for_byte(
    weekend: tuple[Path, GroundTruth], tmp_path: Path
) -> None:
    source = weekend[0] / "files"
    report = _downsample(source, tmp_path / "small")
    copied = {path.relative_to(tmp_path / "small").as_posix() for path in (tmp_path / "small").rglob("*.*")}
    assert {file.path for file in report.files} == copied
    assert {path for path, _ in report.left_out} | copied == {
        path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()
    }
    assert [path for path, _ in report.left_out] == [
        "Mesa Verde Raceway/Mesa Verde Track Map.pdf",
        "harbor_street_circuit/.DS_Store",
    ]
    for file in report.files:
        assert file.bytes_out == (tmp_path / "small" / file.path).stat().st_size
        is_same = (tmp_path / "small" / file.path).read_bytes() == (source / file.path).read_bytes()
        assert is_same == (file.thinned is None)
        assert (file.thinned is not None) == ("telemetry" in file.path)


def test_every_tenth_sample_takes_about_a_tenth_of_the_bytes(weekend: tuple[Path, GroundTruth], tmp_path: Path) -> None:
    report = _downsample(weekend[0] / "files", tmp_path / "small")
    for file in report.files:
        if file.thinned:
            assert 0.08 < file.bytes_out / file.bytes_in < 0.15
            assert file.thinned.samples_out / file.thinned.samples_in == pytest.approx(0.1, abs=0.03)


def test_the_copy_gives_the_same_laps_as_the_original(weekend: tuple[Path, GroundTruth], tmp_path: Path) -> None:
    full_store = open_lake(weekend[0] / "lake")
    _downsample(weekend[0] / "files", tmp_path / "small", every=20)
    small_store = open_lake(tmp_path / "lake")
    small = publish_folder(small_store, tmp_path / "small", tmp_path / "scratch")
    full = require_snapshot(full_store)
    assert len(small.sessions) == len(full.sessions) == 4
    for record in full.sessions:
        laps = session_table(full_store, record, LAPS)
        assert laps.num_rows > 40
        assert session_table(small_store, require_session(small, record.key), LAPS).equals(laps)


def test_downsampling_twice_gives_identical_bytes(weekend: tuple[Path, GroundTruth], tmp_path: Path) -> None:
    for name in ("one", "two"):
        _downsample(weekend[0] / "files", tmp_path / name)
    first, second = (tmp_path / name / _TELEMETRY for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_telemetry_stays_compressed(tmp_path: Path, suffix: str) -> None:
    text = (_HEADER + _rows(9)).encode()
    compressed = gzip.compress(text) if suffix == ".gz" else pa.compress(text, "zstd", asbytes=True)
    source = _race_folder(tmp_path, f"R1_barber_telemetry_data.csv{suffix}", compressed)
    (file,) = _downsample(source, tmp_path / "small", every=4).files
    assert file.thinned == DownsampleStats(rows_in=9, rows_out=3, unreadable_rows=0, samples_in=9, samples_out=3)
    raw = (tmp_path / "small" / file.path).read_bytes()
    decompressed = (
        gzip.decompress(raw) if suffix == ".gz" else pa.CompressedInputStream(pa.BufferReader(raw), "zstd").read()
    )
    lines = (_HEADER + _rows(9)).splitlines(keepends=True)
    assert decompressed.decode() == "".join([lines[0], lines[1], lines[5], lines[9]])


def test_pivoted_telemetry_is_downsampled_although_a_sync_quarantines_it(tmp_path: Path) -> None:
    rows = [f"GR86-002-2,2025-09-06T18:40:{second:02}.000Z,3,120.5\n" for second in range(6)]
    header = "vehicle_id,timestamp,lap,speed\n"
    source = _race_folder(tmp_path, "R1_barber_telemetry_data.csv", (header + "".join(rows)).encode())
    (file,) = _downsample(source, tmp_path / "small", every=3).files
    assert (tmp_path / "small" / file.path).read_text() == header + rows[0] + rows[3]


def test_telemetry_that_cannot_be_downsampled_is_copied_with_a_note(tmp_path: Path) -> None:
    source = _race_folder(tmp_path, "R1_barber_telemetry_data.csv", b"speed,gear\n1,2\n")
    (file,) = _downsample(source, tmp_path / "small").files
    assert file.thinned is None
    assert "copied unchanged" in str(file.note)
    assert "has no column vehicle_id" in str(file.note)
    assert (tmp_path / "small" / file.path).read_bytes() == b"speed,gear\n1,2\n"


@pytest.mark.parametrize("place", ["source/small", ".", "source"])
def test_a_target_inside_or_around_the_source_is_refused(tmp_path: Path, place: str) -> None:
    source = _race_folder(tmp_path, "R1_barber_telemetry_data.csv", (_HEADER + _rows(2)).encode())
    with pytest.raises(ConfigurationError, match="one contains the other"):
        _downsample(source, tmp_path / place)


def test_only_an_empty_target_folder_is_accepted(tmp_path: Path) -> None:
    source = _race_folder(tmp_path, "R1_barber_telemetry_data.csv", (_HEADER + _rows(2)).encode())
    (tmp_path / "small").mkdir()
    _downsample(source, tmp_path / "small")
    with pytest.raises(ConfigurationError, match="already exists"):
        _downsample(source, tmp_path / "small")


def test_a_file_that_changes_during_the_copy_leaves_no_partial_target(tmp_path: Path) -> None:
    source = _race_folder(tmp_path, "R1_barber_telemetry_data.csv", (_HEADER + _rows(9)).encode())
    folder = scan_folder(source)
    identities = identify(folder, load_settings())
    os.utime(folder.files[0].local_path, (0, 0))
    with pytest.raises(FileChangedError, match="changed while it was read"):
        downsample_folder(folder, identities, tmp_path / "small", 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_unreadable_files_are_listed_as_left_out(tmp_path: Path) -> None:
    source = _race_folder(tmp_path, "R1_barber_telemetry_data.csv", (_HEADER + _rows(2)).encode())
    found = scan_folder(source)
    folder = SourceFolder(found.root, found.files, (("barber/secret.csv", "it cannot be read (no permission)"),))
    report = downsample_folder(folder, identify(folder, load_settings()), tmp_path / "small", 2)
    assert report.left_out == (("barber/secret.csv", "it cannot be read (no permission)"),)


@pytest.mark.parametrize("every", [1, 100])
def test_downsampled_real_telemetry_consists_of_rows_of_the_original(
    real_data: Path, tmp_path: Path, every: int
) -> None:
    source = real_data / "grcup" / "barber"
    report = _downsample(source, tmp_path / "small", every=every)
    for file in (file for file in report.files if file.thinned):
        full = (source / file.path).read_bytes()
        small = (tmp_path / "small" / file.path).read_bytes()
        assert file.thinned is not None
        assert file.thinned.unreadable_rows == 0
        if every == 1:
            assert small == full
        else:
            lines = iter(full.splitlines(keepends=True))
            assert all(line in lines for line in small.splitlines(keepends=True))  # the same lines in the same order
            assert 0.009 < len(small) / len(full) < 0.012
