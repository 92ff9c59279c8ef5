"""The byte layouts agree with the table of facts, field by field."""

import csv
from pathlib import Path

import numpy as np
import pytest

from apex_pipeline.sources.ams2.layouts import LAYOUTS

# Names in the table of facts that are not spelled out there.
_THEIRS = {
    "position": "wpos",
    "lap": "current_lap",
    "clock": "current_time",
    "sector_clock": "sector_time",
    "changed": "changed_ts",
    "location": "track",
    "length": "track_length",
    "class": "cls",
    "entries": "p",
    "cars": "p",
    "vehicles": "v",
    "classes": "c",
}
_POSITIONS = {"x": ("full_position", 0), "z": ("full_position", 8), "yaw": ("orientation", 4)}
_GEAR = {"gear": "gear_num_gears"}


@pytest.fixture(scope="module")
def facts(real_data: Path) -> dict[tuple[int, int, str], tuple[str, str]]:
    with (real_data / "ams2" / "packet_layouts.csv").open(encoding="utf-8") as file:
        return {
            (int(row["packet_type"]), int(row["packet_bytes"]), row["field"]): (row["byte_offset"], row["type"])
            for row in csv.DictReader(file)
        }


def test_every_size_of_every_packet_is_known(facts: dict[tuple[int, int, str], tuple[str, str]]) -> None:
    # 556 is the vendor's own wrong constant for 555.
    assert set(LAYOUTS) - {(0, 556)} == {(kind, size) for kind, size, _ in facts}


@pytest.mark.parametrize("packet", sorted(set(LAYOUTS) - {(0, 556)}))
def test_every_field_is_where_the_facts_say(
    packet: tuple[int, int], facts: dict[tuple[int, int, str], tuple[str, str]]
) -> None:
    layout = LAYOUTS[packet]
    for name, (dtype, offset) in _fields(layout):
        theirs, inside = _POSITIONS.get(name, (_GEAR.get(name) or _THEIRS.get(name, name), 0))
        their_offset, their_type = facts[(*packet, theirs)]
        assert offset == int(their_offset) + inside, name
        if dtype.base.names is None:
            assert dtype.base.str.lstrip("<|") == their_type, name
            continue
        for field, (_, field_offset) in _fields(dtype.base):
            expected, _ = facts[(*packet, f"{theirs}[i].{_THEIRS.get(field, field)}")]
            assert f"{offset}+{dtype.base.itemsize}*i+{field_offset}" == expected


def _fields(layout: np.dtype[np.void]) -> "list[tuple[str, tuple[np.dtype[np.generic], int]]]":
    return [(name, (found[0], found[1])) for name, found in (layout.fields or {}).items()]
