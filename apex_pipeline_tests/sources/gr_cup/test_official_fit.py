"""Lap files are read to choose between contradicting files of official laps: once, only then, and within memory."""

import io
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest

from apex_pipeline.demo import GroundTruth
from apex_pipeline.ingest.source_folder import identify, scan_folder
from apex_pipeline.settings import load_settings
from apex_pipeline.sources.base import FileIdentity, FileStatus
from apex_pipeline.sources.gr_cup.derive import OfficialTables, derive_official_tables
from apex_pipeline.sources.gr_cup.kinds import LAP_KINDS, FileKind
from apex_pipeline.sources.limits import DEFAULT_LIMITS
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.tables.session_key import SessionKey

_KEY = SessionKey("mesa_verde_raceway", "R1")
_LAP_TIME = re.compile(rb"(?<=;)\d:(?=\d\d\.\d{3};)")


class _Files:
    """Lap files and official laps of a demo race; counts how often each is opened.

    Args:
        root: The demo weekend.
        wrong: How many more files of official laps there are, of races with other lap times; they sort first.
    """

    def __init__(self, root: Path, wrong: int) -> None:
        self.opened: Counter[str] = Counter()
        found = [
            item
            for item in identify(scan_folder(root), load_settings())
            if (item.track, item.session) == _KEY and item.status is FileStatus.READY
        ]
        self.laps = [item for item in found if item.kind in LAP_KINDS]
        (self.right,) = (item for item in found if item.kind == FileKind.SECTIONS)
        others = [replace(self.right, path=f"{number}.csv") for number in range(wrong)]
        self.all: list[FileIdentity] = [*self.laps, *others, self.right]
        text = (root / self.right.path).read_bytes()
        self._contents = {item.path: (root / item.path).read_bytes() for item in [*self.laps, self.right]}
        # Lap times of other minutes, with which the crossings do not advance.
        self._contents |= {item.path: _LAP_TIME.sub(b"%d:" % (4 + number), text) for number, item in enumerate(others)}

    def open(self, path: str) -> BinaryIO:
        self.opened[path] += 1
        return io.BytesIO(self._contents[path])

    def derive(self, folder: Path, memory_limit: int = 1_000_000_000) -> OfficialTables:
        workspace = Workspace(memory_limit, folder, limits=DEFAULT_LIMITS)
        return derive_official_tables(_KEY, self.all, self.open, workspace)


@pytest.mark.parametrize("wrong", [1, 3])
def test_lap_files_are_read_once_however_many_files_contradict_each_other(
    demo_weekend: tuple[Path, GroundTruth], tmp_path: Path, wrong: int
) -> None:
    files = _Files(demo_weekend[0], wrong)
    derived = files.derive(tmp_path)
    assert set(derived.official_laps["source_file"].to_pylist()) == {files.right.path}
    assert [item.path for item in derived.unreadable] == [f"{number}.csv" for number in range(wrong)]
    assert {files.opened[item.path] for item in files.laps} == {1}


def test_lap_files_are_not_read_for_official_laps_that_agree(
    demo_weekend: tuple[Path, GroundTruth], tmp_path: Path
) -> None:
    files = _Files(demo_weekend[0], 0)
    assert files.derive(tmp_path).official_laps.num_rows > 0
    assert files.opened.keys() == {files.right.path}


def test_lap_files_that_do_not_fit_into_memory_beside_the_official_laps_do_not_decide(
    demo_weekend: tuple[Path, GroundTruth], tmp_path: Path
) -> None:
    """Half a megabyte for rows: the official laps of two files take 0.4 MB, and each lap file 0.1 MB."""
    files = _Files(demo_weekend[0], 1)
    derived = files.derive(tmp_path, memory_limit=2_500_000)
    assert set(derived.official_laps["source_file"].to_pylist()) == {"0.csv"}
    assert "contradicts 0.csv" in derived.unreadable[0].public_reason
