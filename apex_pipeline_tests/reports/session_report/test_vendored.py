"""The vendored plotting library is the published one, with its licence."""

import hashlib
import re
from importlib import resources

_FOLDER = resources.files("apex_pipeline.reports.session_report") / "assets" / "uplot"


def test_every_vendored_file_has_the_hash_that_is_written_down() -> None:
    written = dict(re.findall(r"`([\w.]+)` \| `([0-9a-f]{64})`", (_FOLDER / "VENDORED.md").read_text(encoding="utf-8")))
    files = {file.name: file.read_bytes() for file in _FOLDER.iterdir() if file.name != "VENDORED.md"}
    assert written == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert b"The MIT License" in files["LICENSE"]
    assert b"v1.6.32" in files["uPlot.iife.min.js"]
