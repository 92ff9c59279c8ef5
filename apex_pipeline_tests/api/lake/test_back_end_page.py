"""Every request of the page for back ends is answered as the page says."""

import re
import shlex
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest

from apex_pipeline.orchestration.sync import SyncOutcome
from apex_pipeline_tests.api.lake.conftest import serving

_PAGE = Path(__file__).resolve().parents[3] / "docs" / "for-back-ends.md"
_HOST = "http://127.0.0.1:8000"
_REQUESTS = [
    shlex.split(line)[-1] for line in re.findall(r"^curl .*$", _PAGE.read_text(encoding="utf-8"), re.MULTILINE)
]


@pytest.fixture(scope="module")
def client(demo_folder: tuple[Path, SyncOutcome]) -> Generator[httpx.Client]:
    with serving(demo_folder[0] / "lake") as client:
        yield client


@pytest.mark.parametrize("address", _REQUESTS)
def test_every_request_of_the_page_is_answered(client: httpx.Client, address: str) -> None:
    assert address.startswith(_HOST)
    answer = client.get(address.removeprefix(_HOST))
    if "harbour" in address:
        assert (answer.status_code, answer.json()["suggestion"]) == (404, "harbor_street_circuit")
    else:
        assert answer.status_code == 200
        assert answer.json()


def test_the_page_has_requests() -> None:
    assert len(_REQUESTS) == 9
