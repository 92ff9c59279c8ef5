"""Receives an upload, in any of its three forms, into a temporary file; the body is never in memory as a whole."""

import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from apex_pipeline.api.json_upload import JsonUpload
from apex_pipeline.errors import MalformedFileError
from apex_pipeline.races.errors import RaceTooLargeError
from apex_pipeline.races.submit import check_size
from apex_pipeline.settings import Settings
from apex_pipeline.sources.ams2.container import decode_base64

JSON, BYTES, FORM = "application/json", "application/octet-stream", "multipart/form-data"
# Base64 has four characters for three bytes, and may have a line break after every 60.
_TEXT_PER_BYTE: Final = 1.4
# The rest of a JSON object or of a form.
_EXTRA_BYTES: Final = 100_000
_COPY_BYTES = 1_048_576


@asynccontextmanager
async def received(request: Request, settings: Settings, temp_dir: Path) -> AsyncGenerator[tuple[Path, bool]]:
    """Receive an upload, and yield the file with its bytes and whether a new race is forced by its form.

    Args:
        request: The request; its body has not been read.
        settings: The limit on its size.
        temp_dir: Where the file is, until the block ends.

    Raises:
        RaceTooLargeError: It is larger than ``MAX_RACE_MB``; if the header says so, before the body is read.
        MalformedFileError: It is not what its content type says, or not base64.
    """
    kind = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    most = settings.max_race_bytes + _EXTRA_BYTES
    if kind not in (BYTES, FORM):
        most = int(settings.max_race_bytes * _TEXT_PER_BYTE) + _EXTRA_BYTES
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > most:
        check_size(settings, int(announced))
    with tempfile.TemporaryDirectory(dir=temp_dir, prefix="upload-") as folder:
        path = Path(folder, "blob")
        if kind == FORM:
            yield path, await _receive_form(_limited(request, most, settings), path)
        elif kind == BYTES:
            with path.open("wb") as out:  # noqa: ASYNC230  -- opening a file of our own takes no time
                async for block in _large_blocks(_limited(request, most, settings)):
                    await run_in_threadpool(out.write, block)
            yield path, False
        else:
            yield path, await _receive_json(_limited(request, most, settings), path)


async def _large_blocks(request: Request) -> AsyncGenerator[bytes]:
    """Yield the body in blocks of a size that is worth the way to another thread; it arrives in pieces of 64 kB."""
    pieces, size = list[bytes](), 0
    async for piece in request.stream():
        pieces.append(piece)
        size += len(piece)
        if size >= _COPY_BYTES:
            yield b"".join(pieces)
            pieces, size = [], 0
    yield b"".join(pieces)


async def _receive_json(request: Request, path: Path) -> bool:
    with path.with_name("text").open("w+b") as text:
        upload = JsonUpload("data", text)
        async for block in _large_blocks(request):
            await run_in_threadpool(upload.feed, block)
        other = upload.finish()
        await run_in_threadpool(_decode, text, path)
    force = other.get("force", False)
    if not isinstance(force, bool):
        raise MalformedFileError("The field 'force' of the upload is neither true nor false.", "Leave it out.")
    return force


def _decode(text: BinaryIO, path: Path) -> None:
    text.seek(0)
    with decode_base64(text) as decoded, path.open("wb") as out:
        shutil.copyfileobj(decoded, out, _COPY_BYTES)


async def _receive_form(request: Request, path: Path) -> bool:
    """Receive the one file of a form; starlette puts it on the disk while it arrives."""
    async with request.form(max_files=1, max_fields=10) as form:
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        if not files:
            raise MalformedFileError("The form has no file.", "Send one file named data.")
        with path.open("wb") as out:
            await run_in_threadpool(shutil.copyfileobj, files[0].file, out, _COPY_BYTES)
        return str(form.get("force", "")).lower() in ("true", "1", "yes")


def _limited(request: Request, most: int, settings: Settings) -> Request:
    """Return the request with a body that ends in an error once it exceeds ``most`` bytes."""
    total = 0

    async def receive() -> Any:  # noqa: ANN401  -- a message of ASGI
        nonlocal total
        message = await request.receive()
        total += len(message.get("body", b""))
        if total > most:
            raise RaceTooLargeError(
                f"The upload is larger than {settings.max_race_mb} MB.",
                "Split the recording, or raise MAX_RACE_MB where the API runs.",
            )
        return message

    return Request(request.scope, receive)
