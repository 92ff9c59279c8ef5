"""Presigned URLs signed in the past, so that no test waits for one to expire."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.auth import S3SigV4QueryAuth


@contextmanager
def signed_ago(age: timedelta) -> Generator[None]:
    """Presign URLs as of an earlier time; requests are still signed as of now, because servers check their time."""
    add_auth = S3SigV4QueryAuth.add_auth

    def add_earlier_auth(signer: S3SigV4QueryAuth, request: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            earlier = datetime.now(UTC).replace(tzinfo=None) - age
            patch.setattr("botocore.auth.get_current_datetime", lambda: earlier)
            add_auth(signer, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S3SigV4QueryAuth, "add_auth", add_earlier_auth)
        yield
