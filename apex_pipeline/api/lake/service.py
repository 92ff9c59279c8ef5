"""Answers requests: finds snapshot and form, takes the kept answer or has one made by a thread, and sends it.

Nothing here waits for the store on the event loop. An answer that is kept is sent without a thread.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from apex_pipeline.api.lake.asking import Ask, query_digest
from apex_pipeline.api.lake.cursors import Cursor, CursorKey
from apex_pipeline.api.lake.forms import Form, chosen_form
from apex_pipeline.api.lake.kept import Answer, KeptAnswers
from apex_pipeline.api.lake.limits import WORKERS
from apex_pipeline.api.lake.query import Query, read_query
from apex_pipeline.api.lake.replies import accepted_coding, compressed, is_worth_compressing, reply
from apex_pipeline.api.lake.served import ServedLake
from apex_pipeline.catalog.reader import Catalog
from apex_pipeline.errors import StoreError
from apex_pipeline.settings import Settings
from apex_pipeline.storage.base import ObjectStore


@dataclass(frozen=True)
class Takes:
    """What a route takes.

    Attributes:
        parameters: Names of its parameters, ``snapshot`` and ``format`` included where it has them.
        compares: Whether columns can be compared.
        forms: The forms of its answer, the usual one first.
    """

    parameters: tuple[str, ...] = ("snapshot",)
    compares: bool = False
    forms: tuple[Form, ...] = (Form.JSON,)


class LakeService:
    """What the routes share.

    Args:
        settings: The configuration.
        open_lake: Opens the store of the lake.
        uri: What names the lake, for the signature of cursors.
    """

    def __init__(self, settings: Settings, open_lake: Callable[[], ObjectStore], uri: str) -> None:
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="answer")
        # A look must not wait behind the answers.
        self._looker = ThreadPoolExecutor(2, thread_name_prefix="look")
        self.lake = ServedLake(open_lake, settings, self._looker)
        self.kept = KeptAnswers()
        token = settings.api_token.get_secret_value() if settings.api_token else ""
        self._cursors = CursorKey(f"{token} {uri}")
        self.started_s = time.monotonic()

    def close(self) -> None:
        """Let the threads end; answers in work are not waited for."""
        for pool in (self._workers, self._looker):
            pool.shutdown(wait=False, cancel_futures=True)

    async def answer(self, request: Request, takes: Takes, make: Callable[[Ask], Answer]) -> Response:
        """Answer a request.

        Args:
            request: The request.
            takes: What its route takes.
            make: Makes the answer; runs in a thread.

        Raises:
            ApexError: It cannot be answered; see ``problems.py`` for the status.
        """
        query = read_query(request.scope["query_string"], takes.parameters, compares=takes.compares)
        form = chosen_form(query.text("format"), request.headers.get("accept"), takes.forms)
        path = request.url.path
        catalog, cursor = await self._place(path, query)
        ask = Ask(catalog, path, query, form, self._cursors, cursor)
        key = (ask.snapshot, path, query.canonical(), form)
        try:
            answer = await self.kept.get((key, None), partial(self.in_thread, partial(make, ask)))
        except StoreError as error:
            raise await self.lake.cause_of(catalog, error) from error
        coding = accepted_coding(request.headers)
        if coding is not None and is_worth_compressing(answer):
            again = partial(self.in_thread, partial(compressed, answer, coding))
            answer = await self.kept.get((key, coding), again)
        is_named = cursor is not None or query.text("snapshot") is not None
        return reply(answer, request.headers, is_of_named_snapshot=is_named)

    async def in_thread(self, work: Callable[[], Answer]) -> Answer:
        """Run what waits for the store, or takes long, beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._workers, work)

    async def _place(self, path: str, query: Query) -> tuple[Catalog, Cursor | None]:
        """Return the snapshot that a request is answered from, and its cursor."""
        text = query.text("cursor")
        if text is not None:
            cursor = self._cursors.read(text, query_digest(path, query))
            return await self.lake.of_cursor(cursor.snapshot), cursor
        named = query.text("snapshot")
        return await (self.lake.current() if named is None else self.lake.at(named)), None


async def answered(request: Request, takes: Takes, make: Callable[[Ask], Answer]) -> Response:
    """Answer a request by the service of its app; see :meth:`LakeService.answer`."""
    service: LakeService = request.app.state.lake
    return await service.answer(request, takes, make)
