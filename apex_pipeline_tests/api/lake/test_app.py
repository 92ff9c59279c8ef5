"""What the server cuts off when it stops ends with an answer, or quietly; `cli/test_serve.py` has the process."""

import asyncio
import json
from pathlib import Path

from starlette.types import Message, Receive, Scope, Send

from apex_pipeline.api.lake.app import Counted, create_app
from apex_pipeline.settings import load_settings

_SCOPE: Scope = {"type": "http", "method": "GET", "path": "/", "headers": []}


async def _cut_off(lake: Path, *, after_the_head: bool) -> list[Message]:
    """Return what is sent for a request whose task is cancelled."""
    sent: list[Message] = []
    has_begun = asyncio.Event()

    async def endless(_scope: Scope, _receive: Receive, send: Send) -> None:
        if after_the_head:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        has_begun.set()
        await asyncio.Event().wait()

    async def receive() -> Message:
        raise AssertionError("nobody reads a body")

    async def send(message: Message) -> None:
        sent.append(message)

    metrics = create_app(load_settings(lake_dir=lake)).state.metrics
    task = asyncio.ensure_future(Counted(endless, metrics)(_SCOPE, receive, send))
    await has_begun.wait()
    task.cancel()
    await task
    status = 200 if after_the_head else 503
    assert f'apex_http_requests_total{{route="none",status="{status}"}} 1.0' in metrics.text().decode()
    return sent


def test_a_request_that_is_cut_off_gets_a_problem(tmp_path: Path) -> None:
    head, body = asyncio.run(_cut_off(tmp_path, after_the_head=False))
    assert head["status"] == 503
    assert json.loads(body["body"])["detail"] == "The server is being stopped."


def test_an_answer_that_is_cut_off_ends_there(tmp_path: Path) -> None:
    assert [message["type"] for message in asyncio.run(_cut_off(tmp_path, after_the_head=True))] == [
        "http.response.start"
    ]
