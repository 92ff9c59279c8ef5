"""Every command of the pages for engineers, back ends and operators, and of the exports, works as printed."""

import re
import shlex
from pathlib import Path

import pytest

from apex_pipeline_tests.cli.conftest import Apex

_DOCS = Path(__file__).resolve().parents[2] / "docs"
_PAGES = ("for-engineers.md", "for-back-ends.md", "for-operators.md", "exports.md")
# Words that stand for something, or that need what a test does not have: the first makes this lake, the second never
# ends (api/lake/test_back_end_page.py asks what it serves), the third looks at this machine (test_doctor.py).
_NOT_HERE = re.compile(r"[A-Z]{4}|…|apex (demo|serve|doctor|rollback)")


def _commands(page: str) -> list[str]:
    text = (_DOCS / page).read_text(encoding="utf-8")
    found = [*re.findall(r"^(apex .*)$", text, re.MULTILINE), *re.findall(r"`(apex [a-z]+ [^`]*)`", text)]
    return [line for line in dict.fromkeys(found) if not _NOT_HERE.search(line)]


@pytest.mark.parametrize(("page", "line"), [(page, line) for page in _PAGES for line in _commands(page)])
def test_every_command_works_as_printed(
    synced: Path, tmp_path: Path, apex: Apex, monkeypatch: pytest.MonkeyPatch, page: str, line: str
) -> None:
    for name in ("demo-lake", "demo-weekend"):
        (tmp_path / name).symlink_to(synced / name.replace("demo-lake", "lake"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("APEX_LAKE_DIR", "demo-lake")
    if "--geojson" in line:
        pytest.skip("the telemetry of the small demo is too thin for a map; test_map.py writes one")
    result = apex(*shlex.split(line)[1:])
    assert (result.code, result.error) == (0, "")
    assert result.out


@pytest.mark.parametrize("page", _PAGES)
def test_a_page_has_commands(page: str) -> None:
    assert len(_commands(page)) >= 2
