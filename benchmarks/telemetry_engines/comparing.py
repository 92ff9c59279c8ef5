"""Compares our output with that of the other engines in their common columns, and with the slow reference in all cells.

Run as ``python -m telemetry_engines.comparing SOURCE FOLDER OTHERS REFERENCE``: the folder holds ``ours.parquet``,
``ours.json`` and a Parquet file of each other engine (OTHERS, separated by commas); REFERENCE is ``yes`` or ``no``. The
verdicts are printed as JSON.
"""

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq

from telemetry_engines.contract import CHANNELS
from telemetry_engines.digests import Digest, coarse_differences, columns_with_other_cells, digest, reduced
from telemetry_engines.slow_reference import REFERENCE_COLUMNS, reference_table

# The receive time is not compared: the other engines publish the largest of a row, ours the earliest.
_COMMON_COLUMNS = (*CHANNELS.values(), "unit_lap")


def compare(source: Path, folder: Path, others: list[str], *, with_reference: bool) -> dict[str, dict[str, object]]:
    """Return a verdict for each other engine, and for ``reference`` if requested."""
    frozen = json.loads((folder / "ours.json").read_text(encoding="utf-8"))["frozen_cars"]
    ours = pq.read_table(folder / "ours.parquet")
    verdicts: dict[str, dict[str, object]] = {}
    common = digest(reduced(ours, _COMMON_COLUMNS), _COMMON_COLUMNS, frozen)
    for other in others:
        theirs = digest(pq.read_table(folder / f"{other}.parquet"), _COMMON_COLUMNS, frozen)
        verdicts[other] = _verdict(common, theirs)
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
    _source, _folder, _others, _reference = sys.argv[1:]
    _names = [name for name in _others.split(",") if name]
    print(json.dumps(compare(Path(_source), Path(_folder), _names, with_reference=_reference == "yes")))
