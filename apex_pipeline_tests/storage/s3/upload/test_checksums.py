"""Checksums sent with uploads, compared with those the store acknowledges."""

from base64 import b64encode
from hashlib import md5
from typing import Any
from zlib import crc32

import pytest

from apex_pipeline.errors import StoreInterruptedError
from apex_pipeline.storage.s3.upload.checksums import ChecksumMode, RequestBody, encode_crc32

_BODY = RequestBody(b"lap,time\n", crc32(b"lap,time\n"))
_CRC = b64encode(crc32(_BODY.content).to_bytes(4, "big")).decode()
_MD5 = md5(_BODY.content, usedforsecurity=False)


def test_each_checksum_mode_sends_its_own_checksum() -> None:
    assert _BODY.checksum_headers(ChecksumMode.CRC32) == {"ChecksumCRC32": _CRC}
    assert _BODY.checksum_headers(ChecksumMode.CONTENT_MD5) == {"ContentMD5": b64encode(_MD5.digest()).decode()}
    assert encode_crc32(crc32(_BODY.content)) == _CRC


@pytest.mark.parametrize(
    ("reply", "mode"),
    [
        ({"ChecksumCRC32": _CRC, "ETag": '"of an encrypted object"'}, ChecksumMode.CRC32),
        ({"ETag": f'"{_MD5.hexdigest()}"'}, ChecksumMode.CONTENT_MD5),
    ],
)
def test_the_reply_shows_the_checksum_mode_of_the_store(reply: dict[str, Any], mode: ChecksumMode) -> None:
    assert _BODY.check(reply, "s3://races/x") is mode


@pytest.mark.parametrize("reply", [{"ChecksumCRC32": "AAAAAA=="}, {"ETag": '"0123"'}])
def test_a_different_acknowledged_checksum_is_an_interruption(reply: dict[str, Any]) -> None:
    with pytest.raises(StoreInterruptedError, match=r"s3://races/x was damaged in transit"):
        _BODY.check({"ETag": '"x"', **reply}, "s3://races/x")


@pytest.mark.parametrize(
    ("part", "is_same"),
    [
        ({"Size": 9, "ETag": f'"{_MD5.hexdigest()}"'}, True),
        ({"Size": 9, "ETag": '"encrypted"', "ChecksumCRC32": _CRC}, True),
        ({"Size": 9, "ETag": '"0123"'}, False),
        ({"Size": 9, "ETag": f'"{_MD5.hexdigest()}"', "ChecksumCRC32": "AAAAAA=="}, False),
        ({"Size": 8, "ETag": f'"{_MD5.hexdigest()}"'}, False),
    ],
)
def test_a_listed_part_matches_only_the_same_bytes(part: dict[str, Any], *, is_same: bool) -> None:
    assert _BODY.matches_part(part) is is_same
