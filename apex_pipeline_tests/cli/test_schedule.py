"""``apex schedule``: what it prints can be pasted, whatever the paths contain."""

import json
import shlex
import subprocess
import sys
from datetime import time
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from apex_pipeline.cli.app import app
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.ops.schedules import NightlySync

_HOSTILE = "a b%c'd\"e$f\\g"


def _nightly(folder: Path) -> NightlySync:
    work = folder / _HOSTILE
    work.mkdir()
    program = (sys.executable, "-c", "import json,os,sys; print(json.dumps([os.getcwd(), *sys.argv[1:]]))")
    return NightlySync(time(2, 5), work, program, work / "source", work / "log")


def test_the_line_of_cron_starts_the_sync_in_its_folder(tmp_path: Path) -> None:
    nightly = _nightly(tmp_path)
    minute, hour, *_, command = nightly.cron.split(" ", 5)
    assert (minute, hour) == ("5", "2")
    # Dagster refuses a schedule whose cron expression is not valid.
    dg.ScheduleDefinition(job_name="nightly", cron_schedule=" ".join(nightly.cron.split(" ")[:5]))
    # crontab gives the shell the text up to an unescaped percent sign, without the backslashes before escaped ones.
    subprocess.run(["sh", "-c", command.replace("\\%", "%")], check=True)
    assert json.loads((nightly.folder / "log").read_text()) == [str(nightly.folder), "sync", str(nightly.source)]


def test_the_unit_of_systemd_has_every_word_quoted() -> None:
    nightly = NightlySync(time(2, 5), Path("/a b%c"), ("/x y/apex",), Path('/d"e$f\\g'), Path("/log"))
    assert "WorkingDirectory=/a b%%c\n" in nightly.service
    assert 'ExecStart="/x y/apex" "sync" "/d\\"e$$f\\\\g"\n' in nightly.service
    assert "OnCalendar=*-*-* 02:05:00\nPersistent=true\n" in nightly.timer


def test_the_command_prints_the_three_ways_with_the_paths_of_this_machine(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["schedule", "races", "--at", "03:15"])
    assert result.exit_code == 0, result.output
    assert f"15 3 * * * cd {shlex.quote(str(tmp_path))} && " in result.output
    assert f"sync {tmp_path}/races" in result.output
    for word in ("crontab -e", "apex-sync.timer", "OnCalendar=*-*-* 03:15:00", "sync_source", "nightly_verify"):
        assert word in result.output
    facts = json.loads(CliRunner().invoke(app, ["schedule", "--json"]).output)
    assert set(facts) == {"cron", "systemd", "dagster"}


@pytest.mark.parametrize("at", ["25:00", "2am", "02:60", ""])
def test_another_time_is_refused_with_an_example(at: str) -> None:
    result = CliRunner().invoke(app, ["schedule", "--at", at])
    assert isinstance(result.exception, ConfigurationError)
    assert "Write it like 02:30." in str(result.exception)
