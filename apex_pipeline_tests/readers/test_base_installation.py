"""The base installation: what it imports, and what the command line says where an extra is missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_PROJECT = Path(__file__).resolve().parents[2]
# Makes the libraries of all extras unimportable, as on a machine where only the base is installed.
_BLOCKED = """
import sys
from apex_pipeline.extras import LIBRARIES
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {library for names in LIBRARIES.values() for library in names}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
"""
_APEX = _BLOCKED + "from apex_pipeline.__main__ import main\nmain()\n"


def _python(code: str, *arguments: str, folder: Path, lake: Path | None = None) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(_PROJECT), "COLUMNS": "200", "HOME": str(folder)}
    if lake is not None:
        variables["APEX_LAKE_DIR"] = str(lake)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=variables,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_api_is_imported_without_any_extra_and_without_pandas(tmp_path: Path) -> None:
    done = _python(
        f"{_BLOCKED}\nfrom apex_pipeline import open_catalog\nassert 'pandas' not in sys.modules\n"
        "from apex_pipeline import get_loader\nprint(get_loader())",
        folder=tmp_path,
    )
    assert done.stdout == "<LocalDataLoader of lake>\n", done.stderr


def test_the_first_table_as_arrow_imports_nothing_that_it_does_not_need(tmp_path: Path, lake: Path) -> None:
    """The budget of a start: each of these takes 10 to 500 ms of CPU."""
    done = _python(
        "import sys\nfrom apex_pipeline import open_catalog\n"
        f"lake = open_catalog({str(lake)!r})\n"
        "assert lake.laps('harbor_street_circuit', 'R1', frame='arrow').num_rows\nprint(*sorted(sys.modules))",
        folder=tmp_path,
    )
    imported = set(done.stdout.split())
    assert "pyarrow.parquet" in imported, done.stderr
    assert not imported & {"pandas", "boto3", "botocore", "dagster", "numba", "scipy", "fastapi", "duckdb", "typer"}
    assert not imported & {"asyncio", "dotenv", "filelock", "multiprocessing", "pydantic_settings", "rich", "yaml"}
    assert not imported & {"pyarrow.compute", "pyarrow.dataset", "statistics", "urllib3"}


@pytest.mark.parametrize(
    "command",
    [
        ["tracks"],
        ["sessions"],
        ["files"],
        ["laps", "harbor_street_circuit", "R1"],
        ["cars", "harbor_street_circuit", "R1"],
        ["rejects", "harbor_street_circuit", "R1"],
    ],
)
def test_commands_that_list_a_table_print_it_without_pandas(tmp_path: Path, lake: Path, command: list[str]) -> None:
    script = (
        "import atexit, sys\natexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr))\n"
        "from apex_pipeline.__main__ import main\nmain()\n"
    )
    done = _python(script, *command, folder=tmp_path, lake=lake)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 1
    imported = set(done.stderr.split())
    assert "pyarrow" in imported
    assert not imported & {"pandas", "boto3", "botocore", "dagster", "numba", "scipy", "fastapi", "duckdb"}
    assert not imported & {"asyncio", "filelock", "markdown_it", "multiprocessing", "pydantic_settings", "urllib3"}


def test_a_report_needs_no_extra(tmp_path: Path, lake: Path) -> None:
    done = _python(_APEX, "report", "harbor_street_circuit", "R1", folder=tmp_path, lake=lake)
    assert done.returncode == 0, done.stderr
    assert "</html>" in (tmp_path / "harbor_street_circuit_R1.html").read_text(encoding="utf-8")


def test_a_lake_on_disk_is_read_by_the_command_line(tmp_path: Path, lake: Path) -> None:
    done = _python(_APEX, "laps", "harbor_street_circuit", "R1", "--json", folder=tmp_path, lake=lake)
    assert done.returncode == 0, done.stderr
    assert "GR86-022-13" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("ui",), "pipeline"),
        (("upload", ".", "--bucket", "races"), "s3"),
    ],
    ids=["ui", "upload"],
)
def test_a_command_that_needs_an_extra_names_it(
    tmp_path: Path, lake: Path, arguments: tuple[str, ...], extra: str
) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n", encoding="utf-8")
    done = _python(_APEX, *arguments, folder=tmp_path, lake=lake)
    assert (done.returncode, f"pip install 'apex-pipeline[{extra}]'" in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr
