"""Receives an upload, in any of its three forms: decoded and hashed while it arrives, and never in memory as a whole.

A short race stays in memory; of a longer one, what has arrived is written to a temporary file, block after block.
"""

import hashlib
import tempfile
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from apex_pipeline.api.json_upload import JsonUpload
from apex_pipeline.errors import MalformedFileError
from apex_pipeline.races.errors import RaceTooLargeError
from apex_pipeline.races.submit import Upload, check_size
from apex_pipeline.settings import Settings
from apex_pipeline.sources.ams2.container import Base64Decoder

JSON, BYTES, FORM = "application/json", "application/octet-stream", "multipart/form-data"
# Base64 has four characters for three bytes, and may have a line break after every 60.
_TEXT_PER_BYTE: Final = 1.4
# The rest of a JSON object or of a form.
_EXTRA_BYTES: Final = 100_000
# A race of some minutes is smaller, and fifty of this size at once are 100 MB.
_KEPT_BYTES: Final = 2_000_000
# Blocks of this size are worth the way to another thread, in which a slow disk keeps nobody waiting.
_BLOCK_BYTES: Final = 1_048_576


class ArrivingBlob:
    """The bytes of a race as they arrive: in memory while they are few, then in a file.

    Args:
        temp_dir: Folder for the file.
    """

    def __init__(self, temp_dir: Path) -> None:
        self._temp_dir = temp_dir
        self._stack = ExitStack()
        self._digest = hashlib.sha256()
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._file: BinaryIO | None = None
        self._path: Path | None = None

    def add(self, piece: bytes) -> None:
        """Take the next bytes; :meth:`relieve` must follow soon."""
        self._digest.update(piece)
        self._pieces.append(piece)
        self._waiting += len(piece)

    async def relieve(self) -> None:
        """Write what has arrived to the file, if that is worth it."""
        if self._waiting > (_KEPT_BYTES if self._file is None else _BLOCK_BYTES):
            await run_in_threadpool(self._write)

    def finish(self) -> Upload:
        """Return the upload, which lasts until :meth:`close`."""
        if self._file is None or self._path is None:
            return Upload(b"".join(self._pieces), self._digest.hexdigest())
        self._write()
        self._file.flush()
        return Upload(self._path, self._digest.hexdigest())

    def close(self) -> None:
        """Remove the file, if there is one."""
        self._stack.close()

    def _write(self) -> None:
        if self._file is None:
            folder = self._stack.enter_context(tempfile.TemporaryDirectory(dir=self._temp_dir, prefix="upload-"))
            self._path = Path(folder, "blob")
            self._file = self._stack.enter_context(self._path.open("wb"))
        self._file.writelines(self._pieces)
        self._pieces, self._waiting = [], 0


@asynccontextmanager
async def received(request: Request, settings: Settings, temp_dir: Path) -> AsyncGenerator[tuple[ArrivingBlob, bool]]:
    """Receive an upload, and yield its bytes and whether a new race is forced by its form.

    Args:
        request: The request; its body has not been read.
        settings: The limit on its size.
        temp_dir: Where the bytes of a long race are until the block ends.

    Raises:
        RaceTooLargeError: It is larger than ``MAX_RACE_MB``; if the header says so, before the body is read.
        MalformedFileError: It is not what its content type says.
        RecordingError: Its text is not base64, or it is empty.
    """
    kind = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    most = settings.max_race_bytes + _EXTRA_BYTES
    if kind not in (BYTES, FORM):
        most = int(settings.max_race_bytes * _TEXT_PER_BYTE) + _EXTRA_BYTES
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > most:
        check_size(settings, int(announced))
    receive = {BYTES: _receive_bytes, FORM: _receive_form}.get(kind, _receive_json)
    blob = ArrivingBlob(temp_dir)
    try:
        yield blob, await receive(_limited(request, most, settings), blob)
    finally:
        blob.close()


async def _receive_bytes(request: Request, blob: ArrivingBlob) -> bool:
    async for piece in request.stream():
        blob.add(piece)
        await blob.relieve()
    return False


async def _receive_json(request: Request, blob: ArrivingBlob) -> bool:
    decoder = Base64Decoder()
    upload = JsonUpload("data", lambda text: blob.add(decoder.feed(text)))
    async for piece in request.stream():
        upload.feed(piece)
        await blob.relieve()
    force = upload.finish().get("force", False)
    decoder.finish()
    if not isinstance(force, bool):
        raise MalformedFileError("The field 'force' of the upload is neither true nor false.", "Leave it out.")
    return force


async def _receive_form(request: Request, blob: ArrivingBlob) -> bool:
    """Receive the one file of a form; starlette puts it on the disk while it arrives."""
    async with request.form(max_files=1, max_fields=10) as form:
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        if not files:
            raise MalformedFileError("The form has no file.", "Send one file named data.")
        while piece := await files[0].read(_BLOCK_BYTES):
            blob.add(piece)
            await blob.relieve()
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
