"""Errors are printed with their next step."""

import pytest

from apex_pipeline.console import print_error
from apex_pipeline.errors import SourceError


def test_an_error_is_printed_verbatim_with_its_next_step(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(SourceError("The file [red]a :warning: b.csv is empty.", "Replace [it]. " * 20))
    assert capsys.readouterr().err.splitlines() == [
        "Problem: The file [red]a :warning: b.csv is empty.",
        f"Next step: {'Replace [it]. ' * 20}",
    ]
