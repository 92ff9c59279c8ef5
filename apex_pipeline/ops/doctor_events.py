"""Checks the bucket of rotated event files for `apex doctor`: as the bucket of a lake, and how a name is kept unique.

See doctor_s3.py for the checks of any bucket.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from apex_pipeline.errors import ApexError
from apex_pipeline.events.config import EventConfig, bucket_conflict, event_config
from apex_pipeline.ops.doctor import CheckResult, CheckStatus, failed_check, run_check
from apex_pipeline.ops.doctor_s3 import check_bucket
from apex_pipeline.settings import Settings
from apex_pipeline.storage.factory import open_write_once_store


def check_events(settings: Settings, where_set: Mapping[str, str], *, may_write: bool) -> Iterator[CheckResult]:
    """Check the bucket of event files.

    Args:
        settings: Bucket, prefix and credentials.
        where_set: Origin of each variable, from :func:`apex_pipeline.settings.setting_sources`.
        may_write: Whether to write a small object as a test, and remove it again.
    """
    try:
        config = event_config(Path(), settings)
    except ApexError as error:
        yield failed_check("events", error)
        return
    if conflict := bucket_conflict(settings):
        yield CheckResult("events", CheckStatus.NOTE, conflict, "Set both to one name if that is not on purpose.")
    found = [_renamed(result) for result in check_bucket(_as_lake(config), where_set)]
    yield from found
    if may_write and found[-1].state is CheckStatus.OK:
        yield run_check("events uniqueness", lambda: _uniqueness(config))


def _as_lake(config: EventConfig) -> Settings:
    changes = {
        "bucket": config.bucket,
        "lake_prefix": config.settings.event_prefix.strip("/"),
        "allow_create_bucket": False,
    }
    return config.settings.model_copy(update=changes)


def _renamed(result: CheckResult) -> CheckResult:
    return replace(result, check=f"events {result.check}", hint=result.hint.replace("S3_BUCKET_NAME", "BUCKET_NAME"))


def _uniqueness(config: EventConfig) -> CheckResult:
    store = open_write_once_store(config.settings, config.bucket, attempts=1)
    if store.has_conditional_writes:
        return CheckResult("events uniqueness", CheckStatus.OK, "the store refuses to write a key that is taken")
    return CheckResult(
        "events uniqueness",
        CheckStatus.NOTE,
        "the store has no conditional writes, so keys are looked up under the lock of the folder",
        "Ship to one PREFIX from one folder only: two could take the same key in the same moment.",
    )
