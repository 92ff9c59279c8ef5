"""Builds the documentation as a site: `make docs`. The pages are those of this folder, which read well without it, too.

Links to files of the repository, which a site does not have, become their text. Nothing is fetched, now or at reading.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_PAGES = _ROOT / "docs"
# Named in zensical.toml; git ignores it.
_STAGED = _ROOT / ".site-pages"
_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./[^)\s]+\)")
_SHOWN = {".md", ".png", ".svg"}
# It takes two seconds, and half a minute where seven others work on two cores.
_LIMIT_S = 300


def main() -> int:
    """Build ``site/``; a dead link or a missing page is an error."""
    shutil.rmtree(_STAGED, ignore_errors=True)
    for path in _PAGES.rglob("*"):
        if path.suffix in _SHOWN:
            target = _STAGED / path.relative_to(_PAGES)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".md":
                target.write_text(_OUTSIDE.sub(r"\1", path.read_text(encoding="utf-8")), encoding="utf-8")
            else:
                shutil.copyfile(path, target)
    try:
        command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
        return subprocess.run(command, cwd=_ROOT, check=False, timeout=_LIMIT_S).returncode  # noqa: S603  -- fixed words
    finally:
        shutil.rmtree(_STAGED, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
