"""Translates what goes wrong with a Dagster home into a problem and a next step.

Dagster raises whatever its database, its YAML parser or the operating system raised, often without the path. See
``instance.py`` for opening the home and ``cli/doctor_dagster.py`` for the check of `apex doctor`.
"""

import errno
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import yaml
from sqlalchemy.exc import SQLAlchemyError

from apex_pipeline.errors import ApexError, ConfigurationError
from apex_pipeline.orchestration.home_databases import DATABASES, existing_databases, is_damaged, is_empty
from apex_pipeline.storage.temp_dirs import disk_space

CONFIGURATION_FILE = "dagster.yaml"

_ANOTHER_HOME = "set DAGSTER_HOME to another folder"
_FREE_SPACE = f"Free some space there, or {_ANOTHER_HOME} on a disk with more."
_GRANT_WRITING = f"Give this user the right to write there, or {_ANOTHER_HOME}."
_CLOSE_OTHERS = "Close the program that has it open, such as a database browser, then run this again."
# SQLite needs a page or two more than what is left.
_FULL_BYTES = 1_000_000
# What SQLite says, in lower case, and the problem and next step.
_SQLITE_PROBLEMS = (
    (("database or disk is full",), "is on a full disk", _FREE_SPACE),
    (("readonly database", "unable to open"), "cannot be written", _GRANT_WRITING),
    (("database is locked",), "is locked by another program", _CLOSE_OTHERS),
    (("disk i/o error",), "cannot be read or written: the disk reports an error", f"Check it, or {_ANOTHER_HOME}."),
)
_DAMAGED = ("not a database", "malformed", "file is encrypted")
_OTHER_SCHEMA = ("no such table", "no such column", "has no column", "not null constraint", "instance migrate")


@contextmanager
def opening_home(home: Path) -> Generator[None]:
    """Translate every error in the block, which opens the home and runs no other code.

    Raises:
        ConfigurationError: The home cannot be used.
    """
    try:
        yield
    except ApexError:
        raise
    except Exception as error:
        raise home_error(home, error) from error


@contextmanager
def using_home(home: Path) -> Generator[None]:
    """Translate the errors of Dagster's database in the block; all other errors concern something else.

    Raises:
        ConfigurationError: The database cannot be used any more, for example because the disk is full.
    """
    try:
        yield
    except SQLAlchemyError as error:
        raise home_error(home, error) from error


def home_error(home: Path, error: Exception) -> ConfigurationError:
    """Return the problem and the next step for an error from opening or using a Dagster home."""
    cause = _innermost(error)
    if isinstance(cause, OSError):
        return _from_os_error(home, cause)
    if isinstance(error, RuntimeError) and "home directory" in str(error):  # from Path.expanduser
        return ConfigurationError(f"DAGSTER_HOME {home} names a user that does not exist.", _set_another())
    if isinstance(error, SQLAlchemyError | sqlite3.Error) or isinstance(cause, sqlite3.Error):
        return _from_database(home, str(cause))
    if "instance migrate" in str(error):
        return _from_database(home, str(error))
    return _from_configuration(home / CONFIGURATION_FILE, error)


def _innermost(error: BaseException) -> BaseException:
    original = getattr(error, "orig", None)  # what SQLAlchemy wraps
    return original if isinstance(original, BaseException) else error


def _from_os_error(home: Path, error: OSError) -> ConfigurationError:
    path = error.filename or home
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ConfigurationError(f"The Dagster home {home} is on a full disk.", _FREE_SPACE)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ConfigurationError(f"The Dagster home cannot be used: {path}: {error.strerror}.", _GRANT_WRITING)
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        file = next(place for place in (Path(path), *Path(path).parents) if place.exists())
        return ConfigurationError(f"The Dagster home {home} cannot be used: {file} is a file.", _set_another())
    if error.errno == errno.EISDIR:
        return ConfigurationError(f"{path} is a folder, not a file.", f"Remove it, or {_ANOTHER_HOME}.")
    return ConfigurationError(f"The Dagster home cannot be used: {path}: {error.strerror or error}.", _set_another())


def _from_database(home: Path, message: str) -> ConfigurationError:
    lower = message.lower()
    folder = next((home / name for name in DATABASES if (home / name).is_dir()), None)
    if folder is not None:
        return ConfigurationError(f"{folder} is a folder, not a database.", f"Move it away, or {_ANOTHER_HOME}.")
    if any(words in lower for words in _DAMAGED) or any(map(is_empty, existing_databases(home))):
        return _damaged(home)
    if any(words in lower for words in _OTHER_SCHEMA):
        return ConfigurationError(
            f"The database in the Dagster home {home} does not fit this version of Dagster ({_first_line(message)}).",
            f"Run `dagster instance migrate` if an older version made it; otherwise {_ANOTHER_HOME}.",
        )
    if "disk i/o error" in lower and disk_space(home).free < _FULL_BYTES:  # SQLite's word for a full disk, too
        lower = "database or disk is full"
    for words, problem, hint in _SQLITE_PROBLEMS:
        if any(word in lower for word in words):
            return ConfigurationError(f"The Dagster home {home} {problem}.", hint)
    return ConfigurationError(
        f"The database of the Dagster home {home} cannot be used ({_first_line(message)}).",
        f"Check the database that {home / CONFIGURATION_FILE} names, or {_ANOTHER_HOME}.",
    )


def _damaged(home: Path) -> ConfigurationError:
    found = [database for database in existing_databases(home) if is_damaged(database)]
    named = f"The database {found[0]}" if found else f"A database in the Dagster home {home}"
    moved = f"Move {found[0].parent if found else home} away"
    return ConfigurationError(
        f"{named} is damaged.",
        f"{moved}: the next sync starts a new one without the history of earlier runs. The lake does not depend on it.",
    )


def _from_configuration(configuration: Path, error: Exception) -> ConfigurationError:
    hint = f"Correct it, or remove it: the next sync writes a new one. To use another one, {_ANOTHER_HOME}."
    if isinstance(error, yaml.YAMLError | UnicodeDecodeError):
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark is not None else ""
        return ConfigurationError(f"{configuration} is not valid YAML{line}.", hint)
    return ConfigurationError(f"Dagster does not accept {configuration}: {_explanation(error)}", hint)


def _explanation(error: Exception) -> str:
    """Return the sentence that names the wrong entry; Dagster's other lines repeat the whole schema."""
    details = getattr(error, "errors", None)
    text = str(details[0].message) if details else str(error).removeprefix("Failure condition: ")
    sentence = _first_line(text).partition(" Expected: ")[0].rstrip(".")
    return f"{sentence}."


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0].strip() if lines else "no description"


def _set_another() -> str:
    return f"{_ANOTHER_HOME[0].upper()}{_ANOTHER_HOME[1:]}."
