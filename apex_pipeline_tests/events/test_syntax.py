"""The form of a file is found in linear time; one that is too much work is not checked rather than waited for."""

import time

import pytest

from apex_pipeline.events.syntax import LARGEST_CHECKED_BYTES, Syntax, check_syntax
from apex_pipeline_tests.events.harness import XML


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.xml", XML, Syntax.COMPLETE),
        ("a.xml", XML * 2, Syntax.SEQUENCE),
        ("a.xml", b"<?xml version='1.0'?>" + XML + b"<?xml version='1.0'?>" + XML, Syntax.SEQUENCE),
        ("a.xml", XML + b"<EVENT>", Syntax.ILL_FORMED),
        ("a.xml", b"<a><?xml version='1.0'?></a>", Syntax.ILL_FORMED),
        ("a.xml", b"<a/>text<b/>", Syntax.ILL_FORMED),
        ("a.xml", b" ", Syntax.ILL_FORMED),
        ("a.json", b'{"a":1}\n', Syntax.COMPLETE),
        ("a.json", b'{"a":1}\n{"a":2}', Syntax.SEQUENCE),
        ("a.json", b'[{"a":1},]', Syntax.ILL_FORMED),
        ("a.json", b'{"a":NaN}', Syntax.ILL_FORMED),
        ("a.json", b" \n", Syntax.ILL_FORMED),
        ("a.txt", XML, Syntax.UNKNOWN),
    ],
)
def test_a_file_has_the_form_that_its_ending_promises(name: str, content: bytes, expected: Syntax) -> None:
    assert check_syntax(name, content) is expected


@pytest.mark.parametrize(("name", "document"), [("a.xml", b"<a/>"), ("a.json", b"{}")])
def test_the_largest_file_of_the_shortest_documents_takes_a_second_and_not_fifteen(name: str, document: bytes) -> None:
    content = document * (LARGEST_CHECKED_BYTES // len(document))
    started_s = time.process_time()
    assert check_syntax(name, content) is Syntax.UNKNOWN
    assert time.process_time() - started_s < 4


def test_a_file_of_real_events_is_checked_to_its_end() -> None:
    event = b"<?xml version='1.0'?><EVENT><A>%s</A></EVENT>\n" % (b"x" * 60)
    content = event * (LARGEST_CHECKED_BYTES // len(event) // 4)
    assert check_syntax("a.xml", content) is Syntax.SEQUENCE
    assert check_syntax("a.xml", content + b"<EVENT>") is Syntax.ILL_FORMED
