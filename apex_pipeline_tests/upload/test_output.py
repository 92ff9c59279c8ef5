"""Output of an upload: emoji only where they can be shown, no names that break a line, JSON for programs."""

import io
import json

import pytest

from apex_pipeline.console import ProgressReporter
from apex_pipeline.errors import StoreAuthError
from apex_pipeline.upload import UploadedFile, UploadEvent, UploadReport, UploadStatus
from apex_pipeline.upload.command import UploadOutput


class _Stream(io.TextIOWrapper):
    """A stream that can pose as a terminal."""

    def __init__(self, encoding: str, *, is_terminal: bool) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, newline="\n")
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    @property
    def text(self) -> str:
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode(self.encoding)


_FILES = (
    UploadedFile("a.csv", "data/a.csv", 1200, UploadStatus.UPLOADED),
    UploadedFile("b [red].csv", "data/b [red].csv", 5, UploadStatus.UNCHANGED),
    UploadedFile("line\nbreak.csv", None, 7, UploadStatus.FAILED, "It has a control character. Rename it."),
    UploadedFile("z.csv", "data/z.csv", 9, UploadStatus.NOT_TRIED),
)
_REPORT = UploadReport(
    "s3://races/data", _FILES, 1200, StoreAuthError("The key is unknown.", "Check the keys."), ("data/a.csv.gz",)
)


def _show(stream: _Stream, *, as_json: bool = False, emoji: bool | None = None) -> None:
    reporter = ProgressReporter(stream, as_json=as_json, is_transient=True)
    output = UploadOutput(reporter, emoji=emoji)
    with reporter:
        output.on_event(UploadEvent(len(_FILES), 1221))
        output.on_bytes(1200)
        for number, file in enumerate(_FILES, start=1):
            output.on_event(UploadEvent(len(_FILES), 1221, number, file))
    output.show(_REPORT)


@pytest.mark.req("A-043")
def test_output_without_a_terminal_is_plain_text_and_names_only_what_failed() -> None:
    stream = _Stream("utf-8", is_terminal=False)
    _show(stream)
    assert stream.text.isascii()
    assert stream.text.splitlines() == [
        "4 files, 1,221 bytes",
        "[3/4] FAILED 'line\\nbreak.csv' (7 bytes): It has a control character. Rename it.",
        "s3://races/data: 2 succeeded, 1 failed, 1 not tried (1 uploaded, 1 unchanged, 1,200 bytes sent)",
        "'line\\nbreak.csv': It has a control character. Rename it.",
        "Stopped, because every other file would have failed the same way. Check the keys.",
        "These older copies of the same files, in another format, can be deleted: data/a.csv.gz",
    ]


@pytest.mark.req("A-043")
@pytest.mark.parametrize(
    ("encoding", "is_terminal", "emoji", "expected"),
    [
        ("utf-8", True, None, True),
        ("utf-8", True, False, False),
        ("utf-8", False, None, False),
        ("utf-8", False, True, True),
        ("ascii", True, None, False),
        ("ascii", True, True, False),
        ("latin-1", True, None, False),
    ],
)
def test_emoji_appear_only_where_they_can_be_shown(
    encoding: str, *, is_terminal: bool, emoji: bool | None, expected: bool
) -> None:
    stream = _Stream(encoding, is_terminal=is_terminal)
    _show(stream, emoji=emoji)
    assert ("\N{WHITE HEAVY CHECK MARK} uploaded a.csv" in stream.text) is (expected and is_terminal)
    assert ("\N{CROSS MARK} FAILED" in stream.text) is expected


def test_the_bar_on_a_terminal_shows_bytes() -> None:
    stream = _Stream("utf-8", is_terminal=True)
    _show(stream)
    assert "MB moved" in stream.text
    assert "MB moved" not in stream.text.splitlines()[-1]


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", r"\xfc\udcff.csv"), ("utf-8", r"'ü\udcff.csv'")])
def test_a_name_that_the_stream_cannot_write_is_escaped(encoding: str, shown: str) -> None:
    stream = _Stream(encoding, is_terminal=False)
    file = UploadedFile("ü\udcff.csv", None, 1, UploadStatus.FAILED, "no")
    UploadOutput(ProgressReporter(stream)).on_event(UploadEvent(1, 1, 1, file))
    assert shown in stream.text


@pytest.mark.req("A-043")
def test_json_output_has_one_object_per_file_and_one_for_the_totals() -> None:
    stream = _Stream("ascii", is_terminal=False)
    _show(stream, as_json=True)
    *files, report = [json.loads(line) for line in stream.text.splitlines()]
    assert [(file["number"], file["total"], file["path"], file["bytes"], file["status"]) for file in files] == [
        (1, 4, "a.csv", 1200, "uploaded"),
        (2, 4, "b [red].csv", 5, "unchanged"),
        (3, 4, "line\nbreak.csv", 7, "failed"),
        (4, 4, "z.csv", 9, "not_tried"),
    ]
    assert files[2]["problem"] == "It has a control character. Rename it."
    assert report == {
        "address": "s3://races/data",
        "uploaded": 1,
        "unchanged": 1,
        "failed": 1,
        "not_tried": 1,
        "bytes_sent": 1200,
        "failures": {"line\nbreak.csv": "It has a control character. Rename it."},
        "other_forms": ["data/a.csv.gz"],
        "exit_code": 2,
    }
