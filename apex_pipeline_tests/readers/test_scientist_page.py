"""The page for scientists runs as printed: ten lines lead from the import to a delta plot."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from apex_pipeline_tests.readers.plots import Drawn

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "for-scientists.md"
_BLOCKS: list[str] = re.findall(r"^```python\n(.*?)^```$", _PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_the_page_runs_and_its_first_ten_lines_draw_the_delta(lake: Path, tmp_path: Path) -> None:
    (tmp_path / "demo-lake").symlink_to(lake.absolute(), target_is_directory=True)
    names: dict[str, Any] = {}
    with pd.option_context("plotting.backend", "apex_pipeline_tests.readers.plots"):
        for block in _BLOCKS:
            exec(compile(block, str(_PAGE), "exec"), names)  # noqa: S102  -- our own page
    assert len(_BLOCKS[0].splitlines()) <= 10
    plot, fast, slow = names["plot"], names["fast"], names["slow"]
    assert isinstance(plot, Drawn)
    assert plot.saved == ["delta.svg"]
    assert plot.x[-1] == pytest.approx(3_650, abs=1)
    assert plot.y[-1] == pytest.approx(slow.time_s - fast.time_s, abs=1e-3)
    assert np.isfinite(plot.y).mean() > 0.5
    assert len(names["even"]) == 731


@pytest.mark.parametrize("block", _BLOCKS)
def test_no_line_of_the_page_is_too_long_to_read(block: str) -> None:
    assert max(map(len, block.splitlines())) <= 110
