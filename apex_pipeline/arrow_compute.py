"""``pyarrow.compute``, imported when one of its functions is first called.

It takes 0.05 s of CPU, a tenth of what a reader of one table takes, and many need none of it. Used like the
module itself: ``from apex_pipeline import arrow_compute as pc``.
"""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:  # noqa: ANN401  -- functions, expressions and options
    if name.startswith("__"):  # what the import system asks a module for
        raise AttributeError(name)
    return getattr(import_module("pyarrow.compute"), name)
