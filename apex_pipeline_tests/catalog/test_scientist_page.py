"""The page for scientists runs as printed: ten lines lead from the import to a delta plot."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from apex_pipeline.orchestration.sync import SyncOutcome
from apex_pipeline_tests.catalog.plots import Drawn
from apex_pipeline_tests.distance.driven_lake import publish_lake
from apex_pipeline_tests.distance.driving import LENGTH_M

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "for-scientists.md"
_BLOCKS: list[str] = re.findall(r"^```python\n(.*?)^```$", _PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def _run(blocks: list[str], lake: Path, folder: Path) -> dict[str, Any]:
    """Run blocks of the page in a folder that has the lake under the name the page gives it."""
    (folder / "demo-lake").symlink_to(lake.absolute(), target_is_directory=True)
    names: dict[str, Any] = {}
    with pd.option_context("plotting.backend", "apex_pipeline_tests.catalog.plots"):
        for block in blocks:
            exec(compile(block, str(_PAGE), "exec"), names)  # noqa: S102  -- our own page
    assert isinstance(names["plot"], Drawn)
    assert names["plot"].saved == ["delta.svg"]
    return names


def test_every_line_of_the_page_runs(demo_folder: tuple[Path, SyncOutcome], tmp_path: Path) -> None:
    names = _run(_BLOCKS, demo_folder[0] / "lake", tmp_path)
    assert len(names["even"]) > 700
    assert len(names["changed"]) > 0


def test_ten_lines_lead_from_the_import_to_a_delta_plot(tmp_path: Path) -> None:
    assert len(_BLOCKS[0].splitlines()) <= 10
    # The demo of the tests is too small for a delta; this lake has whole laps of the same cars and track.
    names = _run(_BLOCKS[:1], publish_lake(tmp_path), tmp_path)
    plot, one, other = names["plot"], names["one"], names["other"]
    assert plot.x[-1] == pytest.approx(LENGTH_M, abs=0.1)
    assert plot.y[-1] == pytest.approx(other.time_s - one.time_s, abs=1e-3)
    assert np.isfinite(plot.y).mean() > 0.9


@pytest.mark.parametrize("block", _BLOCKS)
def test_no_line_of_the_page_is_too_long_to_read(block: str) -> None:
    assert max(map(len, block.splitlines())) <= 110
