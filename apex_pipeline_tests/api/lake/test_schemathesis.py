"""What the OpenAPI document of the lake promises, tried with hundreds of requests by Schemathesis."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

_EXAMPLES = 15
# The names of the one session, so that requests get further than "not found".
_NAMES = """
[parameters]
"path.track" = "test_track"
"path.session" = "R1"
"path.car" = "GR86-007-7"
"path.driver" = "GR86-007-7"
"path.lap" = "2"
"path.name" = "laps"
"""
# Which columns there are is no part of the document, so a well-formed name of one may be refused; and the fixed names
# above take the place of malformed ones in requests that should be refused.
_NOT_PROMISED = ("--exclude-checks", "positive_data_acceptance,negative_data_rejection")


@pytest.mark.soak
@pytest.mark.parametrize("names", [_NAMES, ""], ids=["named", "anything"])
def test_every_answer_is_as_documented(served_race: httpx.Client, tmp_path: Path, names: str) -> None:
    (tmp_path / "schemathesis.toml").write_text(names)
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{served_race.base_url}/openapi.json"]
    limits = ["--max-examples", str(_EXAMPLES), "--generation-deterministic", *_NOT_PROMISED]
    ended = subprocess.run([*command, *limits], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600)
    assert ended.returncode == 0, ended.stdout[-12000:]
