"""Standard output and standard error that cannot be written to, in real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_HEAD = """
import sys
from apex_pipeline.process.standard_streams import OutputError, duplicate_stderr, flush_output, make_streams_safe
make_streams_safe()
"""
_PRINT = """
try:
    print("x" * 100_000); flush_output()
except OutputError as error:
    print("lost:", error.reason, error.is_broken_pipe, file=sys.stderr)
print("nothing more is raised"); flush_output()
"""


def _run(script: str, redirection: str) -> subprocess.CompletedProcess[str]:
    command = f'"$0" -c "$1" {redirection}'
    return subprocess.run(
        ["bash", "-c", command, sys.executable, _HEAD + script], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize(
    ("redirection", "reason"),
    [
        ("| true", "Broken pipe True"),
        pytest.param(
            ">/dev/full",
            "No space left on device False",
            marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system"),
        ),
        (">&-", "it is closed False"),
    ],
)
def test_output_that_is_lost_is_reported_once(redirection: str, reason: str) -> None:
    result = _run(_PRINT, redirection)
    assert result.stderr == f"lost: {reason}\n"


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "2> >(true)"])
def test_lost_progress_messages_do_not_matter(redirection: str) -> None:
    script = """
for _ in range(1000): print("progress", file=sys.stderr)
with duplicate_stderr() as copy: print("progress", file=copy)
print("done"); flush_output()
"""
    result = _run(script, redirection)
    assert (result.returncode, result.stdout) == (0, "done\n")


def test_messages_reach_standard_error_again_after_it_was_redirected_to_a_full_disk() -> None:
    script = """
import os
kept = os.dup(2); os.dup2(os.open("/dev/full", os.O_WRONLY), 2)
print("lost", file=sys.stderr)
os.dup2(kept, 2)
print("seen", file=sys.stderr)
"""
    assert _run(script, "").stderr == "seen\n"


def test_a_file_never_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    script = f"print(open({str(tmp_path / 'database')!r}, 'w').fileno(), file=sys.stderr)"
    assert int(_run(script, "<&- >&-").stderr) > 2


def test_names_that_the_encoding_lacks_are_escaped() -> None:
    script = r"print('caf\xe9 \udcff'); flush_output()"
    result = _run(script, "")
    assert result.stdout == "caf\xe9 \\udcff\n"


def test_a_stream_that_another_program_made_non_blocking_is_written_completely() -> None:
    script = """
import os; os.set_blocking(1, False)
print("x" * 1_000_000); flush_output()
"""
    result = _run(script, "| (sleep 0.5; cat)")
    assert len(result.stdout) == 1_000_001


def test_streams_of_a_test_runner_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    from apex_pipeline.process.standard_streams import duplicate_stderr, make_streams_safe  # noqa: PLC0415

    before = sys.stdout, sys.stderr
    make_streams_safe()
    assert (sys.stdout, sys.stderr) == before
    with duplicate_stderr() as copy:
        copy.write("discarded")
    assert os.fstat(2)
    assert capsys.readouterr().err == ""
