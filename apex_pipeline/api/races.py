"""Defines the routes of whole races: upload, status, lists, download, deletion."""

import shutil
import tempfile
import zipfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict

from apex_pipeline.api.problems import Problem
from apex_pipeline.api.services import Services
from apex_pipeline.api.uploads import BYTES, FORM, JSON, ArrivingBlob, received
from apex_pipeline.errors import ObjectMissingError
from apex_pipeline.races.deletion import delete_race
from apex_pipeline.races.errors import RaceNotFoundError
from apex_pipeline.races.lap_data import objects_gone
from apex_pipeline.races.models import RaceStatus
from apex_pipeline.races.services import RaceServices
from apex_pipeline.races.submit import Submission, submit_race
from apex_pipeline.races.views import (
    MOST_LISTED,
    RaceView,
    list_race_ids,
    list_races,
    require_laps,
    view_race,
)
from apex_pipeline.storage.layout import race_blob_key, race_table_key
from apex_pipeline.tables.races import AMS2_TABLES

router = APIRouter(prefix="/race", tags=["races"])

_BLOCK_BYTES = 1_048_576
# Methods of the routes beside /race/{race_id}.
_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
_FIXED_ROUTES: Final = {"upload": "POST", "list_ids": "GET", "list": "GET"}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem} for code in (400, 401, 403, 404, 409, 413, 422, 503)
}
_BASE64: Final = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{4}|[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)$"
_UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": {
                    "type": "object",
                    "required": ["data"],
                    "properties": {
                        "data": {"type": "string", "pattern": _BASE64, "description": "The compressed race in base64."},
                        "force": {"type": "boolean", "description": "Make a new race of bytes uploaded before."},
                    },
                }
            },
            BYTES: {"schema": {"type": "string", "format": "binary", "minLength": 1}},
            FORM: {
                "schema": {
                    "type": "object",
                    "required": ["data"],
                    "properties": {"data": {"type": "string", "format": "binary", "minLength": 1}},
                }
            },
        },
    }
}


class Uploaded(BaseModel):
    """The answer to an upload."""

    model_config = ConfigDict(from_attributes=True)

    race_id: str
    status: RaceStatus
    job_id: str
    message: str
    duplicate_of: str | None = None


Limit = Annotated[int, Query(ge=1, le=MOST_LISTED, description="Most races in the answer.")]
Offset = Annotated[int, Query(ge=0, le=2**31 - 1, description="Races to skip.")]


def _not_allowed(request: Request) -> None:
    """Answer for a word of a route that would be taken for the id of a race."""
    word = request.url.path.rpartition("/")[2]
    raise HTTPException(405, f"{request.method} does not apply to {word}.", {"Allow": _FIXED_ROUTES[word]})


for _word, _method in _FIXED_ROUTES.items():
    _others = sorted(_METHODS - {_method})
    router.add_api_route(f"/{_word}", _not_allowed, methods=_others, include_in_schema=False)


@router.post("/upload", openapi_extra=_UPLOAD, responses=_PROBLEMS, response_model_exclude_none=True)
async def upload(
    request: Request,
    services: Services,
    force: Annotated[bool, Query(description="Make a new race of bytes uploaded before.")] = False,  # noqa: FBT002
) -> Uploaded:
    """Store a race and put it into the queue; ask for its status then."""
    async with received(request, services.settings, services.temp_dir) as (blob, is_forced):
        return await run_in_threadpool(_submitted, services, blob, force=force or is_forced)


def _submitted(services: RaceServices, blob: ArrivingBlob, *, force: bool) -> Uploaded:
    answer: Submission = submit_race(services, blob.finish(), force=force)
    return Uploaded.model_validate(answer)


@router.get("/list_ids", responses=_PROBLEMS)
def list_ids(services: Services, limit: Limit = MOST_LISTED, offset: Offset = 0) -> list[str]:
    """Return the ids of all races, newest first."""
    return list_race_ids(services.database, limit=limit, offset=offset)


@router.get("/list", responses=_PROBLEMS)
def list_all(
    services: Services, status: RaceStatus | None = None, limit: Limit = 100, offset: Offset = 0
) -> list[RaceView]:
    """Return the races with their status, newest first."""
    return list_races(services.database, status=status, limit=limit, offset=offset)


@router.get("/{race_id}/status", response_model=RaceView, responses=_PROBLEMS)
def status(race_id: UUID, services: Services) -> Response:
    """Return the status of a race."""
    # A response of our own is not validated against the model once more, which takes longer than the query.
    return JSONResponse(vars(view_race(services.database, str(race_id))))


@router.delete("/{race_id}", status_code=204, responses=_PROBLEMS)
def delete(race_id: UUID, services: Services) -> Response:
    """Delete a race with all that was made of it; deleting one that is gone changes nothing."""
    delete_race(services, str(race_id))
    return Response(status_code=204)


@router.get("/{race_id}/download/raw", responses={200: {"content": {BYTES: {}}}, **_PROBLEMS})
def download_raw(race_id: UUID, services: Services) -> Response:
    """Return the bytes that were uploaded, unchanged."""
    view = view_race(services.database, str(race_id))
    stack = ExitStack()
    try:
        blob = stack.enter_context(services.store.open_stream(race_blob_key(view.race_id)))
    except ObjectMissingError as error:
        raise RaceNotFoundError(
            f"The uploaded bytes of the race {view.race_id} are gone.", "Delete the race, and upload it again."
        ) from error
    headers = {"Content-Length": str(view.size_bytes), "Content-Disposition": _attachment(view.race_id, "deflate")}
    return StreamingResponse(_blocks(blob, stack), media_type=BYTES, headers=headers)


@router.get("/{race_id}/download", responses={200: {"content": {"application/zip": {}}}, **_PROBLEMS})
def download(race_id: UUID, services: Services) -> Response:
    """Return the tables of a race as Parquet files in a ZIP: laps, samples, and the laps of all cars."""
    identity = str(race_id)
    require_laps(services.database, identity)
    stack = ExitStack()
    try:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=services.temp_dir)))
        archive = _zipped_tables(services, identity, folder / "race.zip")
        file = stack.enter_context(archive.open("rb"))
    except ObjectMissingError as error:
        stack.close()
        raise objects_gone(identity) from error
    except BaseException:
        stack.close()
        raise
    headers = {"Content-Length": str(archive.stat().st_size), "Content-Disposition": _attachment(identity, "zip")}
    return StreamingResponse(_blocks(file, stack), media_type="application/zip", headers=headers)


def _zipped_tables(services: RaceServices, race_id: str, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # Parquet is compressed already
        for table in AMS2_TABLES:
            with (
                services.store.open_stream(race_table_key(table.name, race_id)) as source,
                archive.open(f"{table.name}.parquet", "w") as target,
            ):
                shutil.copyfileobj(source, target, _BLOCK_BYTES)
    return path


def _blocks(file: Any, stack: ExitStack) -> Iterator[bytes]:  # noqa: ANN401  -- any binary file
    def read() -> Generator[bytes]:
        with stack:
            while block := file.read(_BLOCK_BYTES):
                yield block

    return read()


def _attachment(race_id: str, suffix: str) -> str:
    return f'attachment; filename="{race_id}.{suffix}"'
