"""What is copied, and what is asked of our engine. Standard library only: the measuring process must be small."""

import random
from dataclasses import dataclass
from pathlib import Path

_BLOCK_BYTES = 1 << 20
_SEED = 7
_SMALL_BYTES = 1_000_000


@dataclass(frozen=True)
class Case:
    """One load of the comparison.

    Attributes:
        files: Number of files.
        file_bytes: Size of each.
        is_second_run: What is measured is a run after everything was copied.
    """

    files: int
    file_bytes: int
    is_second_run: bool = False

    @property
    def is_of_small_files(self) -> bool:
        """Many small files, none of which is there."""
        return self.files > 1 and self.file_bytes < _SMALL_BYTES and not self.is_second_run

    @property
    def megabytes(self) -> float:
        """Size of all files."""
        return self.files * self.file_bytes / 1e6

    @property
    def title(self) -> str:
        """How the report calls it."""
        is_small = self.file_bytes < _SMALL_BYTES
        shown = f"{self.file_bytes / 1e3:,.0f} KB" if is_small else f"{self.file_bytes / 1e6:,.0f} MB"
        return f"{self.files:,} x {shown}{', a second run' if self.is_second_run else ''}"


CASES = {
    "large": Case(1, 1_000_000_000),
    "medium": Case(300, 3_000_000),
    "small": Case(1_000, 10_000),
    "again": Case(1_000, 10_000, is_second_run=True),
}
# Runs before the first round that do not count: byte code is made then.
WARM_UP = Case(2, 9_000_000)


def scaled(case: Case, megabytes: int | None) -> Case:
    """Return the case with fewer files, or a smaller one, such that it is about so large."""
    if megabytes is None:
        return case
    wanted = megabytes * 1_000_000
    if case.files == 1:
        return Case(1, min(wanted, case.file_bytes), case.is_second_run)
    return Case(max(1, min(wanted // case.file_bytes, case.files)), case.file_bytes, case.is_second_run)


def make_files(folder: Path, case: Case) -> None:
    """Write the files of a case: noise, which nothing between here and the server can make smaller."""
    chance = random.Random(_SEED)  # noqa: S311  -- files, no secrets
    folder.mkdir(parents=True)
    for number in range(case.files):
        with (folder / f"file_{number:04d}.csv").open("wb") as file:
            for start in range(0, case.file_bytes, _BLOCK_BYTES):
                file.write(chance.randbytes(min(_BLOCK_BYTES, case.file_bytes - start)))
