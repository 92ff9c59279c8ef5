"""Counts the line feeds of a text: the number of lines that the reconciliation expects, without the code that parses.

See ``rows`` and ``plain_rows`` for the parsing of these lines.
"""

from apex_pipeline.sources.gr_cup.telemetry.kernels import compiled
from apex_pipeline.sources.gr_cup.telemetry.kernels.buffers import Bytes
from apex_pipeline.sources.gr_cup.telemetry.kernels.intrinsics import pointer
from apex_pipeline.sources.gr_cup.telemetry.kernels.vectors import BLOCK, bit_count, equal

_LINE_FEED = 10


@compiled
def count_line_feeds(text: Bytes) -> int:
    """Return the number of line feeds; the text needs no padding."""
    size = len(text)
    text = pointer(text)
    count, at = 0, 0
    while at + BLOCK <= size:
        count += bit_count(equal(text, at, _LINE_FEED))
        at += BLOCK
    while at < size:
        count += text[at] == _LINE_FEED
        at += 1
    return count
