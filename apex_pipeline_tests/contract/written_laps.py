"""Hypothesis strategies for lap tables, written as CSV in various formats."""

import gzip

import pandas as pd
import pyarrow as pa
from hypothesis import strategies as st

_TEXT = st.sampled_from(["Ada", "Müller", "O'Neil, Jr", 'the "Bear"', "李", "x y"])
_LATIN = st.sampled_from(["Ada", "Müller", "O'Neil, Jr", "Peña"])
_NUMBERS = st.sampled_from(["3", "03", "003", "88", "1e3"])


@st.composite
def written_laps(draw: st.DrawFn) -> tuple[pd.DataFrame, str, bytes]:
    """Return laps, the suffix of their file name and its content, in various encodings, separators and compressions."""
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "latin-1"]))
    rows = draw(st.integers(1, 4))
    laps = pd.DataFrame(
        {
            "LapNumber": pd.Series(draw(_column(st.integers(-5, 10**6), rows)), dtype="int64"),
            "LapTime": pd.Series(draw(_column(st.integers(1, 10**6).map(lambda ms: ms / 1000), rows)), dtype="float64"),
            "Driver": pd.Series(draw(_column(_LATIN if encoding == "latin-1" else _TEXT, rows)), dtype="str"),
            "CarNumber": pd.Series(draw(_column(_NUMBERS, rows)), dtype="str"),
        }
    )
    if draw(st.booleans()):
        laps["Sector 1"] = pd.Series(draw(_column(st.integers(1, 9), rows)), dtype="int64")
    separator, end = draw(st.sampled_from([",", ";", "\t"])), draw(st.sampled_from(["\n", "\r\n"]))
    content = laps.to_csv(index=False, sep=separator, lineterminator=end).encode(encoding)
    ending = draw(st.sampled_from(["", ".gz", ".zst"]))
    compressed = {"": content, ".gz": gzip.compress(content), ".zst": pa.compress(content, "zstd", asbytes=True)}[
        ending
    ]
    return laps, ending, compressed


def _column(values: st.SearchStrategy[object], rows: int) -> st.SearchStrategy[list[object]]:
    return st.lists(values, min_size=rows, max_size=rows)
