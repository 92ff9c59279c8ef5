"""Contains metadata that several assets show alike."""

from apex_pipeline.amounts import size


def size_metadata(number: int) -> dict[str, str | int]:
    """Return a number of bytes twice: with its unit to read, and plain, which Dagster plots over the partitions."""
    return {"size": size(number), "bytes": number}
