"""YAML files of the user's: whatever is wrong with one is one kind of error."""

from pathlib import Path

import pytest
import yaml

from apex_pipeline.yaml_files import load_yaml


@pytest.mark.parametrize(
    "content", [b"a: [", b"\xff\xfe\x00", b"a: 2025-13-01", b"a: !!float x", b"a: !!int 0b2", b"[" * 1_000, b"a: 1\x00"]
)
def test_what_is_no_yaml_is_one_kind_of_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "own.yaml"
    path.write_bytes(content)
    with pytest.raises(yaml.YAMLError):
        load_yaml(path)


def test_a_file_that_is_not_there_is_told_by_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_yaml(tmp_path / "own.yaml")
