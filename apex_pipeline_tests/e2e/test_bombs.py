"""Bombs in every kind of file: the healthy sessions are published, each bomb is named, and memory stays bounded."""

import gzip
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from apex_pipeline.catalog import open_catalog
from apex_pipeline.cli.summary import print_summary
from apex_pipeline.demo import GroundTruth
from apex_pipeline.orchestration.command_sync import sync
from apex_pipeline_tests.e2e.conftest import ignore, settings_in
from apex_pipeline_tests.sources.bombs import gzip_bomb, one_gzip_member, write_parts, zstd_bomb

_PROJECT = Path(__file__).resolve().parents[2]
_TRACK, _RACE_1, _RACE_2 = "mesa_verde_raceway", "Mesa Verde Raceway/Race 1", "Mesa Verde Raceway/Race 2"
_LARGE = 10_000_000_000

Bomb = Callable[[bytes, int, bytes], Iterator[bytes]]
# Part of the name of each file of race 2 that is replaced, the ending of the bomb, and how it is packed. The lap ends
# stay, and so do the results by class and the best laps, which no table is derived from.
_BOMBS: tuple[tuple[str, str, Bomb], ...] = (
    ("mesa_lap_start", ".gz", gzip_bomb),
    ("mesa_lap_time", ".zst", zstd_bomb),
    ("telemetry", ".gz", one_gzip_member),
    ("23_", ".zst", zstd_bomb),
    ("00_", ".gz", gzip_bomb),
    ("03_", ".gz", one_gzip_member),
    ("26_", ".zst", zstd_bomb),
)


@dataclass(frozen=True)
class SyncRun:
    """A sync in a process of its own: exit code, output, and peak memory in bytes."""

    code: int
    out: str
    peak: int


def run_sync(source: Path, folder: Path) -> SyncRun:
    output = folder / "output.txt"
    environment = os.environ | {"PYTHONPATH": str(_PROJECT), "COLUMNS": "500", "APEX_LAKE_DIR": str(folder / "lake")}
    environment |= {"DAGSTER_HOME": str(folder / "dagster"), "APEX_STATE_DIR": str(folder / "state")}
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "apex_pipeline", "sync", str(source)],
            cwd=folder,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return SyncRun(process.returncode, output.read_text(encoding="utf-8"), used.ru_maxrss * 1024)


@pytest.fixture
def source(demo_weekend: tuple[Path, GroundTruth], tmp_path: Path) -> Path:
    """Two races of the synthetic weekend; the first without telemetry."""
    folder = tmp_path / "source"
    shutil.copytree(demo_weekend[0] / _RACE_1, folder / _RACE_1, ignore=shutil.ignore_patterns("*telemetry*"))
    shutil.copytree(demo_weekend[0] / _RACE_2, folder / _RACE_2)
    return folder


def plant_bombs(source: Path, size: int) -> list[Path]:
    """Replace files of race 2 by bombs that start like the file and repeat its second line; return their paths."""
    bombs: list[Path] = []
    for part, ending, bomb in _BOMBS:
        for path in sorted((source / _RACE_2).glob(f"*{part}*")):
            content = path.read_bytes()
            row = content.splitlines(keepends=True)[1]
            path.unlink()
            bombs.append(write_parts(path.with_name(path.name + ending), bomb(row * 20_000, size, content)))
    assert len(bombs) == len(_BOMBS)
    return bombs


def assert_published_without(run: SyncRun, source: Path, folder: Path, left_out: list[Path]) -> None:
    """Assert that both races are published, and that the summary names each file that was left out."""
    assert run.code == 0, run.out
    for path in left_out:
        assert f"{path.relative_to(source).as_posix()} " in run.out
    catalog = open_catalog(folder / "lake")
    assert [record.session for record in catalog.snapshot.sessions] == ["R1", "R2"]
    rejects = catalog.rejects(_TRACK, "R2")
    unreadable = set(rejects[rejects["reason"] == "unreadable_file"]["source_file"])
    assert unreadable == {path.relative_to(source).as_posix() for path in left_out}
    assert not catalog.rejects(_TRACK, "R1")["reason"].eq("unreadable_file").any()
    healthy, damaged = (catalog.laps(_TRACK, session) for session in ("R1", "R2"))
    assert healthy["official_lap_number"].notna().any()
    # The file of lap ends is all that is left of race 2.
    assert damaged["lap_time_s"].notna().any()
    assert damaged["official_lap_number"].isna().all()


def test_the_summary_names_files_that_were_left_out_until_they_are_mended(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_in(tmp_path, source)
    shutil.rmtree(source / _RACE_2)
    lap_file, archive = source / _RACE_1 / "mesa_lap_time_R1.csv", source / "whole weekend.zip"
    content = lap_file.read_bytes()
    lap_file.unlink()
    damaged = lap_file.with_name(f"{lap_file.name}.gz")
    damaged.write_bytes(gzip.compress(content, mtime=0)[:-9])
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(f"{_RACE_1}/{lap_file.name}", bytes(10_000_000))

    outcome = sync(settings, ignore)
    print_summary(outcome, settings)

    printed = " ".join(capsys.readouterr().out.split())
    assert outcome.exit_code == 0
    assert f"{damaged.name} cannot be decompressed: its end is missing. Copy or compress it again" in printed
    assert "unpack them here to use their files (1) whole weekend.zip" in printed

    damaged.write_bytes(gzip.compress(content, mtime=0))
    again = sync(settings, ignore)
    print_summary(again, settings)

    assert [str(key) for key in again.derived] == [f"{_TRACK}/R1"]
    assert "could not be read" not in capsys.readouterr().out


@pytest.mark.soak
@pytest.mark.req("A-123")
def test_bombs_of_ten_gigabytes_stay_within_the_memory_limit(source: Path, tmp_path: Path) -> None:
    bombs = plant_bombs(source, _LARGE)

    run = run_sync(source, tmp_path)

    assert_published_without(run, source, tmp_path, bombs)
    assert "APEX_MAX_COMPRESSION_RATIO" in run.out
    assert run.peak < 1_000_000_000


def _lap_file(source: Path) -> Path:
    return source / _RACE_2 / "mesa_lap_start_time_R2.csv"


def _with_tail(path: Path, tail: bytes, repeats: int) -> None:
    with path.open("ab") as file:
        for _ in range(repeats):
            file.write(tail)


def _endless_header(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(b"")
    _with_tail(path, b"x" * 1_000_000, 50)
    _with_tail(path, content, 1)


def _million_columns(path: Path) -> None:
    header, _, rows = path.read_bytes().partition(b"\n")
    path.write_bytes(header + b"".join(b",c%d" % number for number in range(1_000_000)) + b"\n" + rows)


@pytest.mark.soak
@pytest.mark.req("A-123")
@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (partial(_with_tail, tail=b"x" * 1_000_000, repeats=700), "has more than 1 MB in line"),
        (partial(_with_tail, tail=b"1," * 500_000, repeats=2), "has more than 1 MB in line"),
        (partial(_with_tail, tail=b'"' + b"y" * 999_999, repeats=1_000), "has more than 1 MB in line"),
        (partial(_with_tail, tail=b"\n" * 1_000_000, repeats=1_100), "is more than 1 GB"),
        (_endless_header, "has a first line of more than 65,536 bytes"),
        (_million_columns, "has a first line of more than 65,536 bytes"),
    ],
    ids=["line of 700 MB", "million cells", "cell of 1 GB", "blank lines", "header of 50 MB", "million columns"],
)
def test_endless_lines_cells_and_headers_stay_within_the_memory_limit(
    source: Path, tmp_path: Path, damage: Callable[[Path], None], problem: str
) -> None:
    damage(_lap_file(source))

    run = run_sync(source, tmp_path)

    assert run.code == 0, run.out
    name = _lap_file(source).relative_to(source).as_posix()
    assert any(name in line and problem in line for line in run.out.splitlines())
    catalog = open_catalog(tmp_path / "lake")
    assert [record.session for record in catalog.snapshot.sessions] == ["R1", "R2"]
    assert catalog.laps(_TRACK, "R2")["official_lap_number"].notna().any()
    assert run.peak < 1_000_000_000
