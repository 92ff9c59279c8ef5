"""An upload while it arrives: short ones in memory, long ones in a file that is gone afterwards, hashed on the way."""

import asyncio
import hashlib
import random
import tracemalloc
from pathlib import Path

import pytest

from apex_pipeline.api.uploads import ArrivingBlob
from apex_pipeline.races.submit import Upload

_PIECE_BYTES = 65_536


async def _arrived(blob: ArrivingBlob, pieces: int) -> Upload:
    for number in range(pieces):
        blob.add(random.Random(number).randbytes(_PIECE_BYTES))  # noqa: S311  -- repeatable, not secret
        await blob.relieve()
    return blob.finish()


def _expected(pieces: int) -> bytes:
    return b"".join(random.Random(number).randbytes(_PIECE_BYTES) for number in range(pieces))  # noqa: S311  -- as above


@pytest.mark.parametrize("pieces", [0, 1, 30])
def test_a_short_race_stays_in_memory(pieces: int, tmp_path: Path) -> None:
    upload = asyncio.run(_arrived(ArrivingBlob(tmp_path), pieces))
    assert upload == Upload(_expected(pieces), hashlib.sha256(_expected(pieces)).hexdigest())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("pieces", [31, 47, 48, 100])
def test_a_long_race_is_in_a_file_until_it_has_been_stored(pieces: int, tmp_path: Path) -> None:
    blob = ArrivingBlob(tmp_path)
    upload = asyncio.run(_arrived(blob, pieces))
    assert isinstance(upload.source, Path)
    assert upload.source.read_bytes() == _expected(pieces)
    assert upload.sha256 == hashlib.sha256(_expected(pieces)).hexdigest()
    blob.close()
    assert list(tmp_path.iterdir()) == []


def test_a_long_race_takes_little_memory(tmp_path: Path) -> None:
    blob = ArrivingBlob(tmp_path)
    tracemalloc.start()
    asyncio.run(_arrived(blob, 400))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    blob.close()
    assert peak < 4_000_000  # of 26 MB
