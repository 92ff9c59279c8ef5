"""Tests of the arguments that several commands share."""

from pathlib import Path

import pytest

from apex_pipeline.cli.options import settings_for


def test_a_source_on_the_command_line_replaces_the_one_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APEX_SOURCE_URI", "s3://races/incoming")
    assert settings_for(None).source == "s3://races/incoming"
    assert settings_for(Path("s3://others/2026")).source == "s3://others/2026"
    assert settings_for(Path("folder")).source == "folder"
    monkeypatch.delenv("APEX_SOURCE_URI")
    assert settings_for(None).source == "data"
