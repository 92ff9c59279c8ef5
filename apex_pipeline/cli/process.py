"""Prepares a process for the command it runs: the log, and what the command can do without."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.logs import set_up_logging
from apex_pipeline.settings import load_settings


def prepare_process(*, reads_tables: bool, is_own_process: bool) -> None:
    """Set up the log as ``APEX_LOG_FORMAT`` says, and do without pandas where nothing needs it.

    Args:
        reads_tables: The command only reads tables with Arrow.
        is_own_process: The process runs nothing else.
    """
    try:
        set_up_logging(load_settings().log_format)
    except ConfigurationError:  # reported by every command that needs the settings
        set_up_logging("text")
    if reads_tables and is_own_process and "pandas" not in sys.modules:
        _do_without_pandas()


class _NoPandas(MetaPathFinder):
    """Lets the import of pandas fail."""

    def find_spec(self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> None:
        if fullname == "pandas":
            raise ImportError("not needed by this command")


def _do_without_pandas() -> None:
    """Let pyarrow find no pandas, for the rest of the process.

    pyarrow looks for pandas when the first Python value becomes an Arrow value, and never again; the import takes as
    long as the rest of ``apex results``, 0.5 s. ``to_pandas()`` does not work afterwards.
    """
    import pyarrow as pa  # noqa: PLC0415  -- only commands that read tables need it

    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.scalar(0)
    finally:
        sys.meta_path.remove(finder)
