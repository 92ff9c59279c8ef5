"""Nothing is read beyond the padding of a text: it ends at a page of memory that no process may read."""

import os
import signal
import subprocess
import sys
from itertools import product

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="memory is protected with mprotect")

# Places texts at the end of a page and runs the compiled loops in place, without a copy.
_PROGRAM = """
import ctypes, mmap, sys
import numpy as np
from apex_pipeline.sources.gr_cup.telemetry.fast_parser import FastParser
from apex_pipeline.sources.gr_cup.telemetry.kernels.line_feeds import count_line_feeds
from apex_pipeline.sources.gr_cup.telemetry.kernels.vectors import PADDING
from apex_pipeline_tests.sources.gr_cup.telemetry.kernels.test_guard_page import texts
from apex_pipeline_tests.sources.gr_cup.telemetry.test_fast_parser import ALL

page = mmap.PAGESIZE
memory = mmap.mmap(-1, 3 * page)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
protect = ctypes.CDLL(None, use_errno=True).mprotect
protect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
assert protect(address + 2 * page, page, 0) == 0
parser, lines = FastParser(), 0
for text, header in texts():
    padding = PADDING - int(sys.argv[1])
    for behind in (b"\\0", b"7", b",", b"\\n", text[:1]):
        start = 2 * page - padding - len(text)
        memory[start : 2 * page] = text + padding * behind
        buffer = (ctypes.c_ubyte * (len(text) + padding)).from_buffer(memory, start)
        if padding == PADDING:
            parsed = parser.parse_chunk(buffer, 0, len(text), ALL, header)
            assert parsed.end == len(text)
            lines += parsed.lines
        else:
            parser._padding = padding
            parser.parse_chunk(buffer, 0, len(text), ALL, header)
    memory[2 * page - len(text) : 2 * page] = text
    lines += count_line_feeds(np.frombuffer(memory, np.uint8, len(text), 2 * page - len(text)))
print(lines)
"""


def texts() -> list[tuple[bytes, object]]:
    """Return texts with their headers: plain, quoted and listed, cut at every offset of the last line."""
    from apex_pipeline_tests.sources.gr_cup.telemetry.readings import (  # noqa: PLC0415 -- imported by the program, too
        LISTED_COLUMNS,
        csv_bytes,
        listed,
        reading,
    )
    from apex_pipeline_tests.sources.gr_cup.telemetry.test_fast_parser import LISTS, make_header  # noqa: PLC0415

    value = '[{"name": "speed", "value": 0.34600000000000003}]'
    rows = [reading(0), reading(0, "x" * 40, "1" * 30), reading(0, "gear", "-0.34600000000000003")]
    cases = [
        (csv_bytes(rows, end=end).split(b"\n", 1)[1], make_header(is_quoted=is_quoted))
        for end, is_quoted in product(("\n", "\r\n"), (False, True))
    ]
    cases.append((csv_bytes([listed(0, value)] * 2, LISTED_COLUMNS).split(b"\n", 1)[1], LISTS))
    return [
        (text[:end] + b"\n", header)
        for text, header in cases
        for end in range(text.rindex(b"\n", 0, -1) + 1, len(text))
    ]


def run(removed: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", _PROGRAM, str(removed)], capture_output=True, text=True, check=False)


def test_no_loop_reads_beyond_the_padding() -> None:
    process = run(0)

    assert process.returncode == 0, process.stderr
    assert int(process.stdout) > 1_000


def test_the_guard_page_ends_a_process_that_reads_it() -> None:
    """Without it the test above could not fail: here the padding is missing, and the loops do read behind the text."""
    assert run(64).returncode in {-signal.SIGSEGV, -signal.SIGBUS}
