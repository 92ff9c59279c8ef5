"""What the OpenAPI document promises, tried with thousands of requests by Schemathesis, with and without a race."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from apex_pipeline_tests.api.conftest import running_api, wait_for
from apex_pipeline_tests.races_service.conftest import two_laps

_EXAMPLES = 20
# The race's id takes the place of the malformed one in a request that should be refused.
_NO_OTHER_RACE = ("--exclude-checks", "negative_data_rejection")


def _try_everything(api: httpx.Client, folder: Path, race: str | None, *options: str) -> None:
    lines = ["[parameters]", f'"path.race_id" = "{race}"'] if race else []
    (folder / "schemathesis.toml").write_text("\n".join(lines))
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{api.base_url}/openapi.json"]
    limits = ["--max-examples", str(_EXAMPLES), "--generation-deterministic", *options]
    ended = subprocess.run([*command, *limits], cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-12000:]


@pytest.mark.soak
def test_every_answer_is_as_documented(tmp_path: Path) -> None:
    environment = {name: str(tmp_path / name) for name in ("APEX_LAKE_DIR", "APEX_STATE_DIR", "DAGSTER_HOME")}
    with running_api(environment, tmp_path) as api:
        answer = api.post("/race/upload", content=two_laps(), headers={"Content-Type": "application/octet-stream"})
        race = answer.json()["race_id"]
        wait_for(api, race, "Ready")
        _try_everything(api, tmp_path, race, "--exclude-method", "DELETE", *_NO_OTHER_RACE)
        assert api.get(f"/race/{race}/laps").status_code == 200
        _try_everything(api, tmp_path, None)
