"""A process of its own does without pandas where only tables are read; others find it as before."""

import subprocess
import sys
from pathlib import Path

import pytest

from apex_pipeline_tests.cli.conftest import Apex

_RUN = (
    "import sys\nfrom apex_pipeline.cli import main\n"
    "try:\n    main(is_own_process=True)\nexcept SystemExit as ended:\n    code = ended.code\n"
    "print(code, *(name in sys.modules for name in ('pandas', 'dagster', 'boto3')), file=sys.stderr)\n"
    "from apex_pipeline.process.exit import end_process\nend_process(code)"  # as the command does
)


def test_a_query_in_its_own_process_imports_neither_pandas_nor_dagster_nor_boto3(demo_dir: Path) -> None:
    words = ("laps", "harbor", "r2", "--where", "lap_time_s > 30 and flags contains late", "--limit", "1")
    done = subprocess.run([sys.executable, "-c", _RUN, *words], capture_output=True, text=True, check=True)
    assert done.stderr.split() == ["0", "False", "False", "False"]
    assert done.stdout.startswith("Laps of harbor_street_circuit/R2")


def test_a_query_in_another_process_leaves_pandas_alone(
    demo_dir: Path, apex: Apex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apex_pipeline.cli.process._do_without_pandas", lambda: pytest.fail("pandas was taken away"))
    assert apex("tracks").code == 0


def test_a_sync_without_work_imports_no_pandas(demo_dir: Path) -> None:
    """It takes as long as all the rest of such a sync, and pyarrow imports it unasked; see ``tables/model.py``."""
    done = subprocess.run(
        [sys.executable, "-c", _RUN, "sync", "demo-weekend"], capture_output=True, text=True, check=True
    )
    assert done.stderr.split()[-4:] == ["0", "False", "False", "False"]
    assert "nothing changed, nothing was done" in done.stdout
