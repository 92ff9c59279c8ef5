"""Says which extra of the package installs a library that is missing.

The base installation reads a lake on disk, and the extras in pyproject.toml add to it. Their libraries are imported
where they are used; what arrives at ``entry_point.py`` as an import error is translated here, too.
"""

from collections.abc import Generator
from contextlib import contextmanager

from apex_pipeline.errors import MissingExtraError

# What each extra is for, as the end of "… is needed for …".
_PURPOSES = {
    "s3": "lakes in S3",
    "sql": "exports to DuckDB",
    "pipeline": "syncs, the demo, events, races and Dagster's UI",
    "api": "HTTP interfaces",
    "queue": "races that several machines work on",
    "deploy": "Dagster on several machines",
}
# The libraries that the code imports, by extra; a test compares them with pyproject.toml.
LIBRARIES: dict[str, tuple[str, ...]] = {
    "s3": ("boto3", "botocore", "s3transfer"),
    "sql": ("duckdb",),
    "pipeline": (
        *("alembic", "dagster", "dagster_webserver", "numba", "orjson", "prometheus_client", "scipy", "sqlalchemy"),
        "watchfiles",
    ),
    "api": (
        *("fastapi", "httpx", "orjson", "prometheus_client", "python_multipart", "starlette", "uvicorn", "websockets"),
    ),
    "queue": ("psycopg", "redis", "rq", "rq_dashboard"),
    "deploy": ("dagster_aws", "dagster_celery", "dagster_k8s", "dagster_postgres"),
}


@contextmanager
def needs_libraries() -> Generator[None]:
    """Translate the import of a missing library in the block.

    Raises:
        MissingExtraError: An extra installs it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = missing_extra(error)
        if missing is None:
            raise
        raise missing from error


def missing_extra(error: Exception) -> MissingExtraError | None:
    """Return the error to show for a failed import; ``None`` if no extra installs the library."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return None
    library = error.name.partition(".")[0]
    for extra, libraries in LIBRARIES.items():
        if library in libraries:
            return MissingExtraError(
                f"The library {library}, which is needed for {_PURPOSES[extra]}, is not installed.",
                f"Install it with: pip install 'apex-pipeline[{extra}]'",
            )
    return None
