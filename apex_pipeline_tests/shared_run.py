"""What one run of the tests shares between its worker processes: a folder, and results that are built once in it.

Contains the folder's life and the lock; see shared_lakes.py and servers/shared.py for what is kept in it.
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
# How xdist hands the folder to its workers.
_FOLDER = "shared_run"
# The end of a server takes less than a second; on a loaded machine it may take longer, and nothing depends on it.
_END_SECONDS = 120


class SharedRun:
    """The folder that all worker processes of one run share.

    Attributes:
        folder: Removed when the run ends.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def once(self, name: str, build: Callable[[Path], _Value]) -> tuple[Path, _Value]:
        """Return a folder and what ``build`` returned for it; the first process that asks builds, others wait.

        The content of the folder is for reading only: other tests, in other processes, read it too. A test that
        changes something takes a copy.

        Args:
            name: Names the folder below the run's own.
            build: Fills the empty folder it is given; what it returns is pickled.
        """
        folder, result = self.folder / name, self.folder / f"{name}.pickle"
        with FileLock(self.folder / f"{name}.lock"):
            if not result.is_file():
                shutil.rmtree(folder, ignore_errors=True)  # of a build that failed
                folder.mkdir()
                built = build(folder)
                result.write_bytes(pickle.dumps(built))
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
    """Make the folder of this run, or take the one that xdist's controller made."""
    given: dict[str, Any] | None = getattr(config, "workerinput", None)
    if given is not None:
        config.stash[_SHARED] = SharedRun(Path(given[_FOLDER]))
        return
    shared = SharedRun(Path(tempfile.mkdtemp(prefix="apex-tests-")))
    config.stash[_SHARED] = shared
    config.stash[_HELD] = shared.life()
    config.stash[_HELD].acquire()


def hand_over_shared_run(config: pytest.Config, workerinput: dict[str, Any]) -> None:
    """Name the run's folder to a worker of xdist."""
    workerinput[_FOLDER] = str(config.stash[_SHARED].folder)


def close_shared_run(config: pytest.Config) -> None:
    """End the helper processes of the run and remove its folder; a worker leaves both to the controller."""
    held = config.stash.get(_HELD, None)
    if held is None:
        return
    held.release()
    shared = config.stash[_SHARED]
    for path in shared.folder.glob("*.alive"):
        shared.alive(path.stem).acquire(timeout=_END_SECONDS)
    shutil.rmtree(shared.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_run(request: pytest.FixtureRequest) -> SharedRun:
    return request.config.stash[_SHARED]
