"""deploy/compose/ams2.yaml against the Compose schema; e2e/test_race_service.py runs what it says."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

_FOLDER = Path(__file__).resolve().parents[1] / "deploy" / "compose"
_FILE = _FOLDER / "ams2.yaml"
_SECRET = re.compile(r"\$\{(\w+):\?run \./ams2-passwords\.sh first\}")


def test_the_file_is_valid() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(_FILE)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_every_service_that_stays_is_watched_and_comes_back() -> None:
    services = yaml.safe_load(_FILE.read_text(encoding="utf-8"))["services"]
    for name, service in services.items():
        assert ("healthcheck" in service) == (service["restart"] == "always") == (name != "migrate")


def test_passwords_are_made_once_and_none_is_in_the_file(tmp_path: Path) -> None:
    script = tmp_path / "ams2-passwords.sh"
    shutil.copy(_FOLDER / script.name, script)
    assert subprocess.run([str(script)], check=False, capture_output=True).returncode == 0
    made = tmp_path / ".env"
    given = dict(line.split("=", 1) for line in made.read_text().splitlines())
    text = _FILE.read_text(encoding="utf-8")
    assert set(_SECRET.findall(text)) == set(given)
    assert text.count("${") == len(_SECRET.findall(text))
    assert all(len(value) == 48 for name, value in given.items() if name != "AWS_ACCESS_KEY_ID")
    assert len(set(given.values())) == len(given)
    assert made.stat().st_mode & 0o077 == 0
    assert subprocess.run([str(script)], check=False, capture_output=True).returncode == 1
    assert dict(line.split("=", 1) for line in made.read_text().splitlines()) == given
