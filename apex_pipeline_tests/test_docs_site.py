"""The documentation builds as a site that is read without asking any other host."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).resolve().parents[1]
_ELSEWHERE = re.compile(r"^(https?:)?//")
# Elements whose address a browser fetches by itself; a link waits for a click.
_FETCHED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src"}


class _Page(HTMLParser):
    """Collects what a browser fetches for a page, and its headings."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.classes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.classes |= set((given.get("class") or "").split())
        if tag == "link" and given.get("rel") == "canonical":
            return
        if tag in _FETCHED and given.get(_FETCHED[tag]):
            self.fetched.append(str(given[_FETCHED[tag]]))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(_ROOT / "docs", folder / "docs")
    shutil.copyfile(_ROOT / "zensical.toml", folder / "zensical.toml")
    _build(folder, expected=0)
    return folder / "site"


def _build(folder: Path, *, expected: int) -> str:
    command = [sys.executable, str(folder / "docs" / "build_site.py")]
    # A host that is not there: the build must not need any.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    built = subprocess.run(command, env=os.environ | nowhere, capture_output=True, text=True, check=False, timeout=300)
    assert (built.returncode != 0) == (expected != 0), built.stdout + built.stderr
    return built.stdout + built.stderr


def _pages(site: Path) -> dict[Path, _Page]:
    pages: dict[Path, _Page] = {}
    for path in site.rglob("*.html"):
        pages[path] = _Page()
        pages[path].feed(path.read_text(encoding="utf-8"))
    return pages


def test_every_page_is_built_and_in_the_navigation(site: Path) -> None:
    written = {path.stem for path in (_ROOT / "docs").glob("*.md")}
    assert written <= {path.stem for path in site.glob("*.html")}
    nav: Any = tomllib.loads((_ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]
    assert {Path(page).stem for page in re.findall(r"[a-z0-9-]+\.md", str(nav))} == written


def test_reading_the_site_asks_no_other_host(site: Path) -> None:
    for path, page in _pages(site).items():
        assert page.fetched
        assert [address for address in page.fetched if _ELSEWHERE.match(address)] == [], path
        # The only part of the theme's script that would fetch something: diagrams, which are pictures here.
        assert "mermaid" not in page.classes, path
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert re.findall(r"(?:url\(|@import\s+)[\"']?(?:https?:)?//", text) == [], style


def test_what_a_page_fetches_is_there(site: Path) -> None:
    for path, page in _pages(site).items():
        if path.name != "404.html":  # is served at any address, so its links begin at the root
            missing = [one for one in page.fetched if not (path.parent / one.split("?")[0]).resolve().is_file()]
            assert missing == [], path


def test_the_site_can_be_searched_and_is_light_and_dark(site: Path) -> None:
    assert "delta" in (site / "search.json").read_text(encoding="utf-8")
    start = (site / "index.html").read_text(encoding="utf-8")
    assert "(prefers-color-scheme: dark)" in start
    assert "(prefers-color-scheme: light)" in start


def test_links_to_files_that_a_site_does_not_have_become_text(site: Path) -> None:
    assert "](../deploy/" in (_ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    assert 'href="../deploy' not in (site / "deploy.html").read_text(encoding="utf-8")


def test_a_dead_link_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for name in ("docs/build_site.py", "zensical.toml"):
        shutil.copyfile(_ROOT / name, tmp_path / name)
    settings = (tmp_path / "zensical.toml").read_text(encoding="utf-8")
    (tmp_path / "zensical.toml").write_text(re.sub(r"nav = \[.*?\n\]", "", settings, flags=re.DOTALL))
    (tmp_path / "docs" / "index.md").write_text("# Start\n\n[nowhere](missing.md)\n")
    assert "missing.md" in re.sub(r"\x1b\[[0-9;]*m", "", _build(tmp_path, expected=1))
    assert not (tmp_path / ".site-pages").exists()
