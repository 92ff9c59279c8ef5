"""A child program ends together with the process that started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

_PARENT = """
import sys
from apex_pipeline.process.children import run_until_stopped
from apex_pipeline.process import children, interrupts
children._PATIENCE_S = 0.5
interrupts.watch_signals()
try:
    sys.exit(run_until_stopped([sys.executable, "-c", sys.argv[1]], {}))
except KeyboardInterrupt as error:
    sys.exit(interrupts.report_interruption(error))
"""
_OBEDIENT = "open({gate!r}, 'w').close(); import time; time.sleep(60)"
_DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + _OBEDIENT

_PARENT_BESIDE = """
import os, sys
from apex_pipeline.process.children import running_beside
with running_beside("program", sys.argv[1:], dict(os.environ)) as child:
    sys.exit(child.wait())
"""
_PROGRAM = """
import sys, time
from pathlib import Path
part = Path(sys.argv[1] + ".part")
part.write_text(__name__)
part.rename(sys.argv[1])
time.sleep(60)
"""
_DEAF_PROGRAM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" + _PROGRAM


def _parent(child: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _PARENT, child], stderr=subprocess.DEVNULL)


def test_the_exit_code_of_the_child_is_returned() -> None:
    assert _parent("raise SystemExit(3)").wait(30) == 3


def test_the_child_ends_with_its_parent(tmp_path: Path) -> None:
    for name, script in (("obedient", _OBEDIENT), ("deaf", _DEAF)):
        gate = tmp_path / name
        parent = _parent(script.format(gate=str(gate)))
        while not gate.exists():
            assert parent.poll() is None
            time.sleep(0.02)
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(10) == 143


@pytest.mark.parametrize("program", [_PROGRAM, pytest.param(_DEAF_PROGRAM, marks=pytest.mark.slow)])
def test_a_program_beside_ends_even_when_its_parent_is_killed(tmp_path: Path, program: str) -> None:
    (tmp_path / "program.py").write_text(program)
    gate, paths = tmp_path / "gate", os.pathsep.join([str(tmp_path), *sys.path])
    command = [sys.executable, "-c", _PARENT_BESIDE, str(gate)]
    environment = {**os.environ, "PYTHONPATH": paths}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as parent:
        while not gate.exists():
            assert parent.poll() is None
            time.sleep(0.02)
        assert gate.read_text() == "__main__"
        parent.kill()
        assert parent.communicate(timeout=20)[0] == b""  # the program holds its output open as long as it lives
