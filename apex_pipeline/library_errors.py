"""Translates errors of libraries and of the operating system that no code closer to their cause has translated.

Errors are translated where they occur, by code that knows the file or setting. What arrives at ``entry_point.py`` or at
a step of Dagster (``orchestration/failures.py``) without that gets the best message that its type allows.
"""

import errno
import json
import sqlite3

from apex_pipeline.errors import ApexError
from apex_pipeline.extras import missing_extra

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)

# Problem and next step for errors of libraries, by the package that defines the error.
_LIBRARIES = {
    "pyarrow": (
        "A table file cannot be read or written",
        "`apex verify --deep` names damaged files; `apex sync` makes them again.",
    ),
    "sqlalchemy": (
        "A database cannot be used",
        "Check the disk and the databases in DAGSTER_HOME; `apex doctor` checks both.",
    ),
    "sqlite3": (
        "A database cannot be used",
        "Check the disk and the databases in DAGSTER_HOME and APEX_STATE_DIR; `apex doctor` checks them.",
    ),
    "yaml": ("A YAML file cannot be read", "Correct it: `apex doctor` names it."),
    "json": ("A JSON document cannot be read", "`apex verify` names the damaged object."),
    "botocore": ("The object store cannot be used", "`apex doctor` checks the endpoint, the bucket and the key."),
    "boto3": ("The object store cannot be used", "`apex doctor` checks the endpoint, the bucket and the key."),
    "urllib3": ("The object store cannot be used", "`apex doctor` checks the endpoint, the bucket and the key."),
}
DEBUG_HINT = "APEX_DEBUG=1 shows where it happened."


def translate_library_error(error: Exception) -> ApexError | None:
    """Return the error to show for a library's error, or ``None`` if it is not a known one."""
    if isinstance(error, MemoryError):
        return ApexError("There is not enough memory.", "Close other programs, or lower APEX_MEMORY_LIMIT.")
    if isinstance(error, RecursionError):
        return ApexError("A document or folder is nested too deeply.", f"Take it out of the source. {DEBUG_HINT}")
    if isinstance(error, sqlite3.Error | json.JSONDecodeError):  # defined in modules without a name of their own
        return _library_error("sqlite3" if isinstance(error, sqlite3.Error) else "json", error)
    if isinstance(error, ModuleNotFoundError):
        return missing_extra(error)
    packages = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    for package in _LIBRARIES:
        if package in packages:
            return _library_error(package, error)
    return _from_os_error(error) if isinstance(error, OSError) else None


def _library_error(package: str, error: Exception) -> ApexError:
    problem, hint = _LIBRARIES[package]
    return ApexError(f"{problem} ({type(error).__name__}: {first_line_of(error)}).", f"{hint} {DEBUG_HINT}")


def _from_os_error(error: OSError) -> ApexError:
    named = f"{error.filename}: " if error.filename else ""
    problem = f"{named}{error.strerror or first_line_of(error)}."
    if error.errno in _FULL:
        places = "there" if error.filename else "on the disks of APEX_STATE_DIR (temporary files) and of the lake"
        return ApexError(problem, f"Free some space {places} or raise the quota, then run it again.")
    if error.errno in _REFUSED:
        return ApexError(problem, "Grant this user access, or choose another place; `apex doctor` lists the settings.")
    return ApexError(problem, f"Check the disk and the path. {DEBUG_HINT}")


def first_line_of(error: Exception) -> str:
    """Return the first line of an error's message; libraries append statements, schemas and links."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no description"
