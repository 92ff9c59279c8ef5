"""Is the output right: ours against each rival on common ground, and cell by cell against the slow reference.

Run as ``python -m telemetry_engines.comparing SOURCE FOLDER RIVALS REFERENCE``: the folder holds ``ours.parquet``,
``ours.json`` and a Parquet file for each of the rivals (separated by commas); REFERENCE is ``yes`` or ``no``. The
verdicts are printed as JSON.
"""

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq

from telemetry_engines.contract import CHANNELS
from telemetry_engines.digests import Digest, coarse_differences, columns_with_other_cells, digest, reduced
from telemetry_engines.slow_reference import REFERENCE_COLUMNS, reference_table

# The largest receive time is left out: ours is the earliest of the row.
_COMMON_COLUMNS = (*CHANNELS.values(), "unit_lap")


def compare(source: Path, folder: Path, rivals: list[str], *, with_reference: bool) -> dict[str, dict[str, object]]:
    """Return a verdict for each rival, and for ``reference`` where it was asked for."""
    frozen = json.loads((folder / "ours.json").read_text(encoding="utf-8"))["frozen_cars"]
    ours = pq.read_table(folder / "ours.parquet")
    verdicts: dict[str, dict[str, object]] = {}
    common = digest(reduced(ours, _COMMON_COLUMNS), _COMMON_COLUMNS, frozen)
    for rival in rivals:
        theirs = digest(pq.read_table(folder / f"{rival}.parquet"), _COMMON_COLUMNS, frozen)
        verdicts[rival] = _verdict(common, theirs)
    if with_reference:
        table, unreadable = reference_table(source)
        full = digest(ours, REFERENCE_COLUMNS, frozen)
        verdicts["reference"] = _verdict(full, digest(table, REFERENCE_COLUMNS, frozen)) | {"unreadable": unreadable}
    return verdicts


def _verdict(ours: Digest, theirs: Digest) -> dict[str, object]:
    return {
        "rows": ours.rows,
        "cells": ours.cells,
        "hash": f"{ours.hash:016x}",
        "differences": coarse_differences(ours, theirs),
        "other_cells": columns_with_other_cells(ours, theirs),
    }


if __name__ == "__main__":
    _source, _folder, _rivals, _reference = sys.argv[1:]
    _names = [name for name in _rivals.split(",") if name]
    print(json.dumps(compare(Path(_source), Path(_folder), _names, with_reference=_reference == "yes")))
