"""Runs a Python module that ends when the process that started it ends, even by SIGKILL.

``python -m apex_pipeline.process.tethered MODULE ARGUMENTS…``. The tether is standard input: a pipe whose other end
only the parent holds, so the system closes it whatever the parent dies of.
"""

import os
import runpy
import signal
import sys
import threading
import time

# As long as a child has in children.py.
_PATIENCE_S = 5.0
_LOST_PARENT = 1


def main() -> None:
    """Run the module named first on the command line as the main program, with the arguments after it."""
    threading.Thread(target=_end_with_parent, name="tether", daemon=True).start()
    module, sys.argv = sys.argv[1], sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_PATIENCE_S)
    os._exit(_LOST_PARENT)


if __name__ == "__main__":
    main()
