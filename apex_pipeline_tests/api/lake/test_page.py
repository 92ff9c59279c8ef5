"""Every request on docs/http.md is answered, and as it is printed where the page prints the answer."""

import re
from collections.abc import Generator
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from apex_pipeline_tests.api.lake.conftest import serving
from apex_pipeline_tests.shared_lakes import SyncedLake

_PAGE = Path(__file__).resolve().parents[3] / "docs" / "http.md"
_ASK = "$ curl -s 'http://127.0.0.1:8000"
_LINES = _PAGE.read_text(encoding="utf-8").splitlines()
_REQUESTS = [
    (line.removeprefix(_ASK).removesuffix("'"), after if after.startswith("{") else "")
    for line, after in pairwise(_LINES)
    if line.startswith(_ASK)
]


@pytest.fixture(scope="module")
def demo(demo_lake: SyncedLake) -> Generator[httpx.Client]:
    """The lake that `apex demo` makes."""
    with serving(demo_lake.settings.lake_dir) as client:
        yield client


@pytest.mark.parametrize(("address", "printed"), _REQUESTS)
def test_the_answer_is_as_printed(demo: httpx.Client, address: str, printed: str) -> None:
    reply = demo.get(address)
    assert reply.status_code == (404 if '"status":404' in printed else 200)
    assert reply.content
    if printed:
        pattern = re.escape(printed).replace("…", '[^"]+')
        assert re.fullmatch(pattern, reply.text)


def test_the_page_has_them() -> None:
    assert len(_REQUESTS) >= 5
    assert sum(bool(printed) for _, printed in _REQUESTS) >= 2
