"""Compiled inner loops of the conversion: text to readings, and readings to rows.

``plain_rows``, ``rows`` and ``json_lists`` parse lines, with ``scan`` and ``decimals``; ``line_feeds`` counts lines;
``pivot`` assigns readings to rows; ``vectors`` and ``intrinsics`` are the instructions that numba lacks.

The code here runs once per byte or once per reading, on plain arrays, and handles no files, tables or errors. Lines in
an unusual format are set aside for the reference parser in ``line_parser``.

Numba compiles a function when it is first called with given types (12 s of processor time in total, once per
installation). The result is cached in a folder named after a hash of all sources here, because numba itself notices
changes only in the file of the called function, not in the files of the functions it calls. Importing numba takes 0.2 s
and 40 MB, so these modules are imported by the functions that need them. Rules for the code here:

* Inner functions take pointers (``intrinsics.pointer``): an array counts its references on every call, which takes as
  long as the work itself, and a tuple of arrays for each of them.
* Where an array is indexed, positions are ``np.uint64``: a signed one is checked for negative values on every access.
* Bounds are not checked at run time, and a text is read up to 64 bytes beyond its end (``vectors.PADDING``). The tests
  run everything here without the compiler, where each access is checked, with ``NUMBA_BOUNDSCHECK``, and with a page
  behind the padding that no process may read.
"""

import hashlib
import importlib
import logging
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

_WITHOUT = "scipy"
_absent = sys.modules.get(_WITHOUT)
# Where scipy is installed, numba loads its linear algebra, a quarter of a second and 30 MB, only to see whether it is
# there. Nothing here uses it, and ``None`` is Python's own way to say that a module cannot be imported.
sys.modules[_WITHOUT] = None  # type: ignore[assignment]
try:
    import numba

    importlib.import_module("numba.np.arraymath")  # else imported, with scipy, when a compiled function is first called
finally:
    if _absent is None:
        del sys.modules[_WITHOUT]
    else:
        sys.modules[_WITHOUT] = _absent

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

_LOG = logging.getLogger(__name__)
_HERE = Path(__file__).parent


def compiled(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Compile a function on its first call, to run without the GIL; ``.py_func`` is the original function."""
    with _cache_folder() as is_cached:
        dispatcher = numba.njit(cache=is_cached, nogil=True, forceinline=True)(function)
    return cast("Callable[_Parameters, _Result]", dispatcher)


@contextmanager
def _cache_folder() -> Generator[bool]:
    """Point numba's cache to a folder for exactly these sources; yield whether one is writable."""
    settings = vars(numba)["config"]  # documented, and read at decoration; missing from the stubs
    before = settings.CACHE_DIR
    bases = [Path(before)] if before else [_HERE / "__pycache__", *_user_cache()]
    folder = next((base / f"compiled-{source_hash()}" for base in bases if is_writable(base)), None)
    settings.CACHE_DIR = str(folder or before)
    _say_if_compiling(folder)
    try:
        # In a container without a writable folder, every process compiles the functions again.
        yield folder is not None
    finally:
        settings.CACHE_DIR = before


@lru_cache
def _say_if_compiling(folder: Path | None) -> None:
    """Log that the functions are going to be compiled: otherwise the first load seems to hang."""
    if folder is None or next(folder.rglob("*.nbi"), None) is None:
        how_often = (
            "which happens once per installation" if folder else "which every process does: no cache is writable"
        )
        _LOG.warning("Compiling the inner loops of telemetry, %s; it takes 6 to 20 s.", how_often)


def _user_cache() -> list[Path]:
    try:
        return [Path.home() / ".cache" / "apex_pipeline"]
    except RuntimeError:  # a container may run as a user without a home folder
        return []


@lru_cache(maxsize=1)
def source_hash() -> str:
    """Return a hash of all sources in this folder."""
    sources = hashlib.sha256()
    for path in sorted(_HERE.glob("*.py")):
        sources.update(path.read_bytes())
    return sources.hexdigest()[:12]


@lru_cache
def is_writable(folder: Path) -> bool:
    """Return whether files can be created in a folder; create the folder if it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


__all__ = ["compiled", "is_writable", "source_hash"]
