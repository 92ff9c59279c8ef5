"""A child program ends together with the process that started it."""

import signal
import subprocess
import sys
import time
from pathlib import Path

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
