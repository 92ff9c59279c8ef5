"""The README: its links and variables exist, and its commands work as printed on the lake that it makes."""

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from apex_pipeline.cli import main
from apex_pipeline.cli.commands import PANELS
from apex_pipeline.orchestration.sync import SyncOutcome
from apex_pipeline.settings import environment_variables

_PROJECT = Path(__file__).resolve().parents[1]
_README = (_PROJECT / "README.md").read_text(encoding="utf-8")
_LAKE_FOLDERS = ("data/", "catalog/", "tables/")


def _section(title: str) -> str:
    """Return the text between this heading and the next one of the same level."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", _README, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


@pytest.mark.req("A-112")
def test_the_s3_section_explains_why_and_how_and_links_to_the_guide() -> None:
    section = _section("Cloud Deployment with AWS S3")
    assert "**Why.**" in section
    assert len(re.findall(r"^\d\. ", section, re.MULTILINE)) >= 4
    assert "(AWS_SETUP_GUIDE.md)" in section
    reference = set(re.findall(r"`([A-Z0-9]+(?:_[A-Z0-9]+)+)`", section))
    assert reference >= {
        "USE_S3_DATA",
        "S3_BUCKET_NAME",
        "AWS_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "S3_ENDPOINT_URL",
    }
    assert reference <= set(environment_variables()) | {"AWS_DEFAULT_REGION"}


@pytest.mark.req("A-115")
def test_the_readme_has_a_diagram_of_the_data_flow() -> None:
    drawings = re.findall(r"^```\n(.*?)^```$", _section("Data flow"), re.MULTILINE | re.DOTALL)
    assert len(drawings) == 1
    assert all(folder in drawings[0] for folder in _LAKE_FOLDERS)


def test_every_relative_link_has_a_target() -> None:
    links = re.findall(r"\]\(([^)]+)\)", _README)
    assert len(links) > 5
    assert [link for link in links if "://" not in link and not (_PROJECT / link).exists()] == []


def test_every_command_of_the_readme_exists() -> None:
    commands = {command.name for panel in PANELS.values() for command in panel}
    named = set(re.findall(r"(?:^|`)apex ([a-z][a-z0-9-]*)", _README, re.MULTILINE))
    assert len(named) > 5
    assert named <= commands


def _lines(language: str) -> list[str]:
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", _README, re.MULTILINE | re.DOTALL)
    return [line.split("  #")[0].rstrip() for block in blocks for line in block.splitlines()]


_COMMANDS = [line for line in _lines("sh") if line.startswith("apex ")]


@pytest.fixture(scope="module")
def made_by_the_readme(demo_folder: tuple[Path, SyncOutcome], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder after the README's first command, `make run`: the weekend and its lake."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(demo_folder[0] / "demo-weekend", folder / "demo-weekend")
    shutil.copy(demo_folder[0] / "demo-weekend.answers.json", folder)
    shutil.copytree(demo_folder[0] / "lake", folder / "demo-lake")
    return folder


def test_every_line_of_a_shell_block_is_run_by_a_test() -> None:
    others = [line for line in _lines("sh") if not line.startswith("apex ")]
    assert others == ["make run", 'export PATH="$PWD/.venv/bin:$PATH" APEX_LAKE_DIR=demo-lake']
    assert len(_COMMANDS) > 20


@pytest.mark.slow  # 24 commands, one of which derives four sessions
@pytest.mark.parametrize("command", _COMMANDS)
def test_a_command_works_as_printed_on_the_lake_of_the_readme(
    made_by_the_readme: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.chdir(made_by_the_readme)
    monkeypatch.setenv("APEX_LAKE_DIR", "demo-lake")
    monkeypatch.setattr("sys.argv", shlex.split(command))
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert (ended.value.code or 0) == 0, printed.out + printed.err
    assert printed.out.strip()


def test_the_python_of_the_readme_works_on_its_lake(made_by_the_readme: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made_by_the_readme)
    monkeypatch.setenv("APEX_LAKE_DIR", "demo-lake")
    names: dict[str, Any] = {}
    exec("\n".join(_lines("python")), names)  # noqa: S102  -- the README's own lines
    assert len(names["samples"]) > 1
    assert list(names["laps"].columns[:2]) == ["LapNumber", "LapTime"]


def test_the_first_result_is_the_one_that_is_printed(
    made_by_the_readme: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(made_by_the_readme)
    monkeypatch.setattr("sys.argv", ["apex", "best", "harbor", "r1", "--lake", "demo-lake"])
    with pytest.raises(SystemExit):
        main()
    printed = re.findall(r"^```\n(Best.*?)^```$", _README, re.MULTILINE | re.DOTALL)[0]
    assert capsys.readouterr().out.startswith(printed)


def test_no_link_of_the_readme_is_dead_on_a_package_index() -> None:
    hook = tomllib.loads((_PROJECT / "pyproject.toml").read_text())["tool"]["hatch"]["metadata"]["hooks"]
    (rule,) = hook["fancy-pypi-readme"]["substitutions"]
    shown = re.sub(rule["pattern"], rule["replacement"], _README)
    assert [link for link in re.findall(r"\]\(([^)]+)\)", shown) if "://" not in link] == []
    assert "docs/laps.md" in shown


def test_what_the_first_commands_make_is_not_seen_by_git(demo_folder: tuple[Path, SyncOutcome]) -> None:
    made = sorted({path.name for path in demo_folder[0].iterdir()} | {"demo-lake", ".venv", ".env", "lake.zip"})
    seen = subprocess.run(
        ["git", "check-ignore", "--no-index", *(f"{name}/x" if "." not in name[1:] else name for name in made)],
        cwd=_PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line.removesuffix("/x") for line in seen.stdout.split()] == made
