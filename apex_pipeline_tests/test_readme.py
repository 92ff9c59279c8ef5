"""The links, variables and commands in the README exist."""

import re
from pathlib import Path

import pytest

from apex_pipeline.cli.commands import PANELS
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
    named = set(re.findall(r"(?:\.venv/bin/|`)apex ([a-z]+)", _README))
    assert len(named) > 5
    assert named <= commands
