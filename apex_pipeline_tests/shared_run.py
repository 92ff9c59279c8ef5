"""A folder that the worker processes of one test run share, with results that are built once.

Contains the folder and its locks; see shared_lakes.py and servers/shared.py for the content.
"""

import pickle
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from filelock import FileLock

_Value = TypeVar("_Value")
_LIFE = "run.lock"
# Key under which xdist passes the folder to its workers.
_FOLDER = "shared_run"
# Stopping a server takes less than a second, but longer on a loaded machine; nothing depends on the exact time.
_STOP_TIMEOUT_S = 120


class SharedRun:
    """The folder that all worker processes of one test run share.

    Attributes:
        folder: Removed when the run ends.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def once(self, name: str, build: Callable[[Path], _Value]) -> tuple[Path, _Value]:
        """Return a folder and the result of ``build`` for it; the first process builds while the others wait.

        The content of the folder is read-only, because tests in other processes read it too. A test that changes
        something works on a copy.

        Args:
            name: Name of the folder inside the run's folder.
            build: Fills the empty folder it is given; its result is pickled.
        """
        folder, result = self.folder / name, self.folder / f"{name}.pickle"
        with FileLock(self.folder / f"{name}.lock"):
            if not result.is_file():
                shutil.rmtree(folder, ignore_errors=True)  # left by a failed build
                folder.mkdir()
                built = build(folder)
                partial = result.with_suffix(".partial")  # a killed process leaves no torn result
                partial.write_bytes(pickle.dumps(built))
                partial.replace(result)
        return folder, pickle.loads(result.read_bytes())  # noqa: S301  -- written by this run

    def life(self) -> FileLock:
        """Return the lock that the run's first process holds until it ends, however it ends."""
        return FileLock(self.folder / _LIFE, poll_interval=0.2)

    def alive(self, name: str) -> FileLock:
        """Return the lock that a helper process holds for as long as it runs."""
        return FileLock(self.folder / f"{name}.alive")


_SHARED = pytest.StashKey[SharedRun]()
_HELD = pytest.StashKey[FileLock]()


def open_shared_run(config: pytest.Config) -> None:
    """Create the folder of this run, or use the one created by xdist's controller."""
    workerinput: dict[str, Any] | None = getattr(config, "workerinput", None)
    if workerinput is not None:
        config.stash[_SHARED] = SharedRun(Path(workerinput[_FOLDER]))
        return
    shared = SharedRun(Path(tempfile.mkdtemp(prefix="apex-tests-")))
    config.stash[_SHARED] = shared
    config.stash[_HELD] = shared.life()
    config.stash[_HELD].acquire()


def hand_over_shared_run(config: pytest.Config, workerinput: dict[str, Any]) -> None:
    """Pass the run's folder to an xdist worker."""
    workerinput[_FOLDER] = str(config.stash[_SHARED].folder)


def close_shared_run(config: pytest.Config) -> None:
    """Stop the helper processes of the run and remove its folder; does nothing in an xdist worker."""
    held = config.stash.get(_HELD, None)
    if held is None:
        return
    held.release()
    shared = config.stash[_SHARED]
    for path in shared.folder.glob("*.alive"):
        shared.alive(path.stem).acquire(timeout=_STOP_TIMEOUT_S)
    shutil.rmtree(shared.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_run(request: pytest.FixtureRequest) -> SharedRun:
    return request.config.stash[_SHARED]
