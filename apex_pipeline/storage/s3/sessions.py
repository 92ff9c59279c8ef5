"""Create boto3 sessions: from given keys whatever the profiles say, else from what boto3 finds.

Contains all uses of ``AWS_PROFILE``; see client.py and credentials.py for the clients, errors.py for the messages.
"""

import logging
import os
from contextlib import suppress
from typing import Any

import boto3
import botocore.exceptions as botocore_errors
import botocore.session


def new_session(key_id: str | None, secret: str | None, token: str | None, region: str) -> boto3.Session:
    """Return a session; given keys count, even if ``AWS_PROFILE`` is blank or names a profile that does not exist.

    boto3 looks the profile up in any case, for other settings than keys, such as a CA bundle.

    Args:
        key_id: Access key ID; ``None`` lets boto3 find the credentials.
        secret: Its secret.
        token: Session token of temporary credentials.
        region: Region of all requests.

    Raises:
        BotoCoreError: The profile or the configuration file cannot be used.
    """
    _unset_blank_variables()
    core = botocore.session.Session()
    profile: str | None = core.get_config_variable("profile")
    if profile is not None and not _is_usable(core, profile, has_key=key_id is not None):
        without_variable = (None, None, None, None)
        core = botocore.session.Session(session_vars={"profile": without_variable})
    return boto3.Session(
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        aws_session_token=token,
        region_name=region,
        botocore_session=core,
    )


def load_credentials(session: boto3.Session) -> str | None:
    """Load a session's credentials now, so that a failure is reported once, and return which provider has them.

    Returns:
        boto3's name of the provider, such as ``env``; ``None`` if there are no credentials.

    Raises:
        BotoCoreError: A profile, a process or a service does not provide them.
        ClientError: A service refuses to provide them.
        OSError: A file with credentials cannot be read.
        ValueError: A process does not print what it should.
    """
    # botocore logs a failure with its traceback, in addition to raising it.
    logger = logging.getLogger("botocore.credentials")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.ERROR)
    credentials: Any = session.get_credentials()
    if credentials is None:
        return None
    credentials.get_frozen_credentials()
    return str(credentials.method)


def endpoint_of_environment() -> tuple[str, str] | None:
    """Return the address that boto3 finds in a variable of AWS, and its name; ``None`` without one."""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if value := os.environ.get(name, "").strip():
            return value, name
    return None


def _unset_blank_variables() -> None:
    """Unset AWS's own variables that are blank: botocore takes some as a path, a number or an address."""
    for name, value in list(os.environ.items()):
        if name.startswith("AWS_") and not value.strip():
            del os.environ[name]


def _is_usable(core: botocore.session.Session, profile: str, *, has_key: bool) -> bool:
    if not profile.strip():
        return False
    if has_key:
        with suppress(botocore_errors.BotoCoreError):  # raised and reported when the session is used
            return profile in core.available_profiles
    return True
