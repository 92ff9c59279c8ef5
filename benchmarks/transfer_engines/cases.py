"""Defines the files of each case. Standard library only, because the measuring process must stay small."""

import random
from dataclasses import dataclass
from pathlib import Path

_BLOCK_BYTES = 1 << 20
_SEED = 7
_SMALL_BYTES = 1_000_000


@dataclass(frozen=True)
class Case:
    """One set of files in the comparison.

    Attributes:
        files: Number of files.
        file_bytes: Size of each file.
        is_second_run: The measured run starts after everything was copied.
    """

    files: int
    file_bytes: int
    is_second_run: bool = False

    @property
    def is_of_small_files(self) -> bool:
        """Whether this is a first run with many small files."""
        return self.files > 1 and self.file_bytes < _SMALL_BYTES and not self.is_second_run

    @property
    def megabytes(self) -> float:
        """Total size of the files."""
        return self.files * self.file_bytes / 1e6

    @property
    def title(self) -> str:
        """Name in the report."""
        is_small = self.file_bytes < _SMALL_BYTES
        size = f"{self.file_bytes / 1e3:,.0f} KB" if is_small else f"{self.file_bytes / 1e6:,.0f} MB"
        return f"{self.files:,} x {size}{', a second run' if self.is_second_run else ''}"


CASES = {
    "large": Case(1, 1_000_000_000),
    "medium": Case(300, 3_000_000),
    "small": Case(1_000, 10_000),
    "again": Case(1_000, 10_000, is_second_run=True),
}
# Case of the unmeasured runs before the first round, which create byte code.
WARM_UP = Case(2, 9_000_000)


def scaled(case: Case, megabytes: int | None) -> Case:
    """Return the case reduced to about this size, with fewer files or a smaller one."""
    if megabytes is None:
        return case
    max_bytes = megabytes * 1_000_000
    if case.files == 1:
        return Case(1, min(max_bytes, case.file_bytes), case.is_second_run)
    return Case(max(1, min(max_bytes // case.file_bytes, case.files)), case.file_bytes, case.is_second_run)


def make_files(folder: Path, case: Case) -> None:
    """Write the files of a case, with random content that cannot be compressed on the way to the server."""
    chance = random.Random(_SEED)  # noqa: S311  -- file contents, not secrets
    folder.mkdir(parents=True)
    for number in range(case.files):
        with (folder / f"file_{number:04d}.csv").open("wb") as file:
            for start in range(0, case.file_bytes, _BLOCK_BYTES):
                file.write(chance.randbytes(min(_BLOCK_BYTES, case.file_bytes - start)))
