"""The inner loops of the conversion, compiled: ``lines``, ``lists`` (text to readings), ``cells`` (readings to rows).

Here belongs what runs once per byte or once per reading, on plain arrays, and knows nothing of files, tables or errors.
Whatever is out of the ordinary is set aside for careful Python (``careful``), which says what it means.

Numba compiles a function when it is first called with certain types (6 s in all, once per installation) and keeps the
result in a folder that is named after the sources here, all of them: left alone, it would notice a change of the file
of the function that is called, and not of the files of those that one calls. Importing numba takes 0.2 s and 40 MB, so
these modules are imported by the functions that need them. Rules for what is written here:

* Positions index through ``np.uint64``: a signed index is checked for being negative on every access, which stops the
  compiler from using wide registers (115 ns against 4 ns for comparing 77 bytes).
* Inner functions take their arrays one by one: a tuple of arrays costs a count of references for each of them on every
  call, ten times the work itself.
* Nothing checks bounds at run time. The tests run everything here with ``NUMBA_BOUNDSCHECK`` as well.
"""

import hashlib
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

import numba

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

_HERE = Path(__file__).parent


def compiled(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Compile a function on its first call, without the interpreter's lock; ``.py_func`` is the plain one."""
    with _cache_folder() as is_kept:
        made = numba.njit(cache=is_kept, nogil=True, forceinline=True)(function)
    return cast("Callable[_Parameters, _Result]", made)


@contextmanager
def _cache_folder() -> Generator[bool]:
    """Let numba keep what it compiles in a folder for exactly these sources; say whether there is one to be had."""
    settings = vars(numba)["config"]  # documented, and read at the moment of decoration; its stubs do not know it
    before = settings.CACHE_DIR
    bases = [Path(before)] if before else [_HERE / "__pycache__", *_user_cache()]
    folder = next((base / f"compiled-{fingerprint()}" for base in bases if is_writable(base)), None)
    settings.CACHE_DIR = str(folder or before)
    try:
        # In a container that can write nowhere, every process compiles for itself.
        yield folder is not None
    finally:
        settings.CACHE_DIR = before


def _user_cache() -> list[Path]:
    try:
        return [Path.home() / ".cache" / "apex_pipeline"]
    except RuntimeError:  # a container may run as a user that has no home
        return []


@lru_cache(maxsize=1)
def fingerprint() -> str:
    """Return a fingerprint of all sources in this folder."""
    sources = hashlib.sha256()
    for path in sorted(_HERE.glob("*.py")):
        sources.update(path.read_bytes())
    return sources.hexdigest()[:12]


@lru_cache
def is_writable(folder: Path) -> bool:
    """Say whether files can be made in a folder, which is made if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


__all__ = ["compiled", "fingerprint", "is_writable"]
