"""The ``.ldx`` file beside a log: XML with a beacon for each time the car crossed the line.

A lap lies between two beacons; what comes before the first one is the way out, what follows the last one the way in.
"""

from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

_MICROSECONDS = 1_000_000
_OPENING = """<?xml version="1.0"?>
<LDXFile Locale="English_United Kingdom.1252" DefaultLocale="C" Version="1.6">
 <Layers>
  <Layer>
   <MarkerBlock>
    <MarkerGroup Name="Beacons" Index="3">"""
_CLOSING = """    </MarkerGroup>
   </MarkerBlock>
   <RangeBlock/>
  </Layer>
 </Layers>
</LDXFile>
"""


class Beacon(NamedTuple):
    """A crossing of the line.

    Attributes:
        at_s: Seconds since the log begins.
        name: Which lap ends, or begins, with it.
    """

    at_s: float
    name: str


def ldx_text(beacons: Sequence[Beacon]) -> str:
    """Return the content of a ``.ldx`` file."""
    markers = [
        f'     <Marker Version="100" ClassName="BCN" Name={quoteattr(beacon.name)} Flags="77" '
        f'Time="{beacon.at_s * _MICROSECONDS:.17e}"/>'
        for beacon in beacons
    ]
    return "\n".join([_OPENING, *markers, _CLOSING])
