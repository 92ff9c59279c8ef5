"""The version of the installed package; a checkout that is not installed has none, and says so."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version

_NAME = "apex-pipeline"
_CHECKOUT = "0.1.0+checkout"


@cache
def package_version() -> str:
    """Return the version under which the package is installed; looking it up takes 10 ms."""
    try:
        return version(_NAME)
    except PackageNotFoundError:
        return _CHECKOUT
