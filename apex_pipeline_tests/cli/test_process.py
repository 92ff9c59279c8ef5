"""A process of its own does without pandas where only tables are read; others find it as before."""

import subprocess
import sys
from pathlib import Path

import pytest

from apex_pipeline_tests.cli.conftest import Apex

_RUN = (
    "import sys\nfrom apex_pipeline.cli import main\n"
    "try:\n    main(is_own_process=True)\nexcept SystemExit as ended:\n    code = ended.code\n"
    "print(code, 'pandas' in sys.modules, 'dagster' in sys.modules, 'boto3' in sys.modules, file=sys.stderr)"
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
