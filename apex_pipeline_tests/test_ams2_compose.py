"""deploy/compose/ams2.yaml against the Compose schema; e2e/test_race_service.py runs what it says."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

from apex_pipeline_tests.compose_stack import COMPOSE, PROJECT, generated_passwords

_FILE = COMPOSE / "ams2.yaml"
_DOCKERFILE = PROJECT / "deploy" / "Dockerfile"
_SECRET = re.compile(r"\$\{(\w+):\?run make_env\.py\}")


def test_the_file_is_valid() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(_FILE)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_every_service_that_stays_is_watched_and_comes_back() -> None:
    services = yaml.safe_load(_FILE.read_text(encoding="utf-8"))["services"]
    for name, service in services.items():
        assert ("healthcheck" in service) == (service["restart"] == "always") == (name != "migrate")


def test_no_password_has_a_default_and_each_is_one_that_the_script_makes(tmp_path: Path) -> None:
    text = _FILE.read_text(encoding="utf-8")
    secrets = _SECRET.findall(text)
    assert text.count("${") == len(secrets)
    assert set(secrets) < generated_passwords(tmp_path).keys()


def test_its_services_run_from_the_one_image_by_what_that_has() -> None:
    services = yaml.safe_load(_FILE.read_text(encoding="utf-8"))["services"]
    ours = {name: service for name, service in services.items() if "build" in service}
    assert set(ours) == {"api", "worker", "migrate", "rq-dashboard"}
    locked = (PROJECT / "deploy" / "requirements.lock").read_text()
    for service in ours.values():
        assert service["image"] == "apex-pipeline"
        assert (COMPOSE / service["build"]["context"] / service["build"]["dockerfile"]).samefile(_DOCKERFILE)
        program = service["command"][0]
        assert program == "python" or re.search(rf"^{program}(\[\w+\])?==", locked, re.MULTILINE)
    assert {"psycopg[binary]==", "python-multipart==", "redis==", "rq=="} <= set(
        re.findall(r"^[\w\[\]-]+==", locked, re.MULTILINE)
    )
