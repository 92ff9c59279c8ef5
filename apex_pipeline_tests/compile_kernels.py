"""Compiles the inner loops of the telemetry conversion into their cache, or does nothing if they are there.

Run before the tests, as ``python -m apex_pipeline_tests.compile_kernels``: on a fresh checkout, all workers would
otherwise compile them at the same time, each for 6 s.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from apex_pipeline_tests.sources.gr_cup.telemetry.readings import convert_rows, reading


def main() -> None:
    """Convert two readings."""
    with TemporaryDirectory() as folder:
        convert_rows(Path(folder), [reading(1), reading(2)])


if __name__ == "__main__":
    main()
