"""The class of the original shipper, ``S3Client(config)``, with its names, messages and return values.

Contains that class; the work is done by ``delivery.py``, so a file is verified, resumed, and never overwrites another.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apex_pipeline.errors import ApexError
from apex_pipeline.events.config import NO_BUCKET, event_config, key_of
from apex_pipeline.events.content import read_content
from apex_pipeline.events.delivery import Delivery
from apex_pipeline.events.failures import classify, described, next_step
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.storage.factory import open_write_once_store
from apex_pipeline.storage.s3.errors import error_code

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client as Boto3Client

_LOG = logging.getLogger(__name__)

# Variables that the original took from its configuration alone, with its defaults.
_ORIGINAL = {
    "PREFIX": "xml-events/",
    "USE_DATE_FOLDERS": False,
    "MAX_RETRIES": 5,
    "RETRY_BASE_DELAY": 1.0,
}
# Variables that come from the configuration, or else from the environment.
_OTHERS = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "S3_ENDPOINT_URL", "APEX_STATE_DIR"),
    *("EVENT_SOURCE", "EVENTS_COMPRESS"),
)


class S3Client:
    """Uploads rotated event files to a bucket.

    Args:
        config: ``BUCKET_NAME`` (required), ``PREFIX``, ``USE_DATE_FOLDERS``, ``MAX_RETRIES`` and ``RETRY_BASE_DELAY``,
            as text or as what they mean; ``AWS_*`` and ``S3_ENDPOINT_URL`` take precedence over the environment.

    Raises:
        ValueError: ``BUCKET_NAME`` is missing.
        ConfigurationError: Another value is wrong.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        if not config.get("BUCKET_NAME"):
            raise ValueError(NO_BUCKET)
        self._config = event_config(Path(), _settings_of(config))
        settings = self._config.settings
        self.bucket_name = self._config.bucket
        self.prefix = settings.event_prefix
        self.use_date_folders = settings.use_date_folders
        self.max_retries = settings.max_retries
        self.retry_base_delay = settings.retry_base_delay
        try:
            self._store = open_write_once_store(settings, self.bucket_name, attempts=1)
            self.s3: Boto3Client = self._store.client
        except Exception as error:
            _LOG.error("Failed to initialize S3 client: %s", error)
            raise
        self._delivery = Delivery(self._config, self._store)
        _LOG.info("S3 client initialized for bucket: %s", self.bucket_name)

    def get_s3_key(self, filename: str) -> str:
        """Return the key of a file: the prefix, the folder of its date if these are used, and its name."""
        return key_of(self._config.settings, os.path.basename(filename))  # noqa: PTH119  -- "" stays ""

    def upload_file(self, file_path: str, s3_key: str | None = None, *, absolute_key: bool = False) -> bool:
        """Upload a file, unless the bucket has it already.

        If another file has its key, it gets the next free one (``name_1.xml``): nothing is overwritten.

        Args:
            file_path: The file.
            s3_key: Its key; one that does not start with the prefix is the name of the file.
            absolute_key: Take the key as it is, whatever the prefix.

        Returns:
            Whether the file is in the bucket.
        """
        if not os.path.exists(file_path):  # noqa: PTH110  -- also of "", which is no path
            _LOG.error("File not found: %s", file_path)
            return False
        settings = self._config.settings
        compresses, scratch = settings.events_compress == "gzip", settings.state_dir.absolute() / "scratch"
        key = self._key_of(file_path, s3_key, is_absolute=absolute_key)
        try:
            with read_content(Path(file_path), Path(file_path).name, scratch, compresses=compresses) as content:
                self._delivery.deliver(file_path, content, f"{key}.gz" if content.is_compressed else key)
        except ApexError as error:
            _LOG.error("%s: %s %s", file_path, described(error), next_step(error))
            return False
        return True

    def check_bucket_access(self) -> bool:
        """Return whether the bucket exists and these credentials may use it; the log says why not."""
        try:
            self._store.check_bucket()
        except ApexError as error:
            code = error_code(error)
            if code is None:
                _LOG.error("Unexpected error checking bucket access: %s", error)
            else:
                _LOG.error("Failed to access bucket %s: %s - %s", self.bucket_name, code, error)
            _LOG.debug("The class of this error is %s.", classify(error))
            return False
        _LOG.info("Successfully verified access to bucket: %s", self.bucket_name)
        return True

    def _key_of(self, file_path: str, s3_key: str | None, *, is_absolute: bool) -> str:
        if not s3_key:
            return self.get_s3_key(file_path)
        is_whole = is_absolute or (self.prefix and s3_key.startswith(self.prefix))
        return s3_key if is_whole else self.get_s3_key(s3_key)


def _settings_of(config: Mapping[str, Any]) -> Settings:
    given = {**_ORIGINAL, **{name: config[name] for name in _ORIGINAL if config.get(name) is not None}}
    given |= {name: config[name] for name in (*_OTHERS, "BUCKET_NAME") if config.get(name)}
    if config.get("AWS_REGION"):
        given["AWS_REGION"] = config["AWS_REGION"]
    return load_settings(**given)
