"""Arrow arrays are made as ``pa.array`` makes them, by a process that never imports pandas."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.sources.gr_cup.telemetry.arrow_arrays import numbers, repeated, texts, values_of

INTEGERS = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(st.tuples(INTEGERS, st.booleans()), max_size=40))
def test_integers_and_their_nulls_become_an_array(pairs: list[tuple[int, bool]]) -> None:
    values = np.array([value for value, _ in pairs], np.int64)
    is_null = np.array([null for _, null in pairs], bool)

    assert numbers(values, is_null).equals(pa.array(values, mask=is_null))
    assert numbers(values).equals(pa.array(values))


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.float64])
def test_an_array_has_the_type_of_its_numbers(kind: type[np.generic]) -> None:
    values = np.arange(6).astype(kind)[::2]
    array = numbers(values)
    array.validate(full=True)
    assert array.equals(pa.array(values))


@given(st.lists(st.text(max_size=5), max_size=10))
def test_texts_become_an_array(values: list[str]) -> None:
    array = texts(values)
    array.validate(full=True)
    assert array.equals(pa.array(values, pa.string()))


def test_one_text_is_repeated_in_every_row() -> None:
    assert repeated("barber", 3).to_pylist() == ["barber"] * 3
    assert repeated("barber", 0).to_pylist() == []


@given(st.lists(st.lists(INTEGERS, max_size=5), max_size=4), st.integers(0, 3))
def test_the_numbers_of_a_column_are_read_across_its_chunks(parts: list[list[int]], skipped: int) -> None:
    column = pa.chunked_array([pa.array(part, pa.int64()) for part in parts], pa.int64()).slice(skipped)
    assert values_of(column).tolist() == column.to_pylist()


def test_a_conversion_imports_neither_pandas_nor_scipy() -> None:
    """Both are installed here, and each takes 0.25 s of processor time."""
    program = (
        "import sys, importlib.util as found\n"
        "from apex_pipeline.sources.gr_cup.telemetry.compile import compile_loops\n"
        "compile_loops()\n"
        "assert found.find_spec('pandas') and found.find_spec('scipy')\n"
        "print(*{name.partition('.')[0] for name in sys.modules} & {'pandas', 'scipy'})"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout.strip()) == (0, ""), process.stderr
