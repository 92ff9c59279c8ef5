"""The version of the installed package; a checkout that is not installed has none, and says so."""

from functools import cache

_NAME = "apex-pipeline"
_CHECKOUT = "0.1.0+checkout"


@cache
def package_version() -> str:
    """Return the version under which the package is installed; looking it up takes 10 ms."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  -- few commands show the version

    try:
        return version(_NAME)
    except PackageNotFoundError:
        return _CHECKOUT
