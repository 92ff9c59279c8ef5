"""Tells whether an event file is well-formed, so that it can be marked, and taken early, without changing a byte.

Contains a check of the form alone: XML and JSON documents, and sequences of them, which is what producers append. See
``sources/events`` for what is in the documents.
"""

import codecs
import json
import re
from enum import Enum
from xml.parsers import expat

from apex_pipeline.sources.events.rotation import content_kind

# Beyond this size the check is left out. The parsed form of JSON takes up to ten times the size of its text, and 16 MB
# is three times the size at which producers rotate.
LARGEST_CHECKED_BYTES = 16_000_000
# Deeper nesting is no event file, and costs memory: 150 bytes per open element. Counted by the signs of tags, which may
# also lie in comments and in CDATA; the readers of events have a lower limit, and count exactly.
_DEEPEST = 100_000
# The shortest file that can be nested so deeply, of tags such as <a>. Counting takes a quarter of the check.
_SHORTEST_DEEP_BYTES = 3 * _DEEPEST
# Beyond this number of documents the check is left out. Each takes some 3 µs, so a file takes a second at most; 16 MB
# of documents such as <a/> would take 13 s, and an event has more than 80 bytes.
_MOST_DOCUMENTS = 200_000
# What a parser is given at once: more would be copied again for every short document of a sequence.
_PIECE_BYTES = 8192
_NOT_SPACE = re.compile(rb"[^ \t\r\n\0]")  # also of UTF-16
_NOT_SPACE_TEXT = re.compile(r"[^ \t\r\n]")
_NEXT_DOCUMENT = frozenset(
    {
        expat.errors.codes[expat.errors.XML_ERROR_JUNK_AFTER_DOC_ELEMENT],
        expat.errors.codes[expat.errors.XML_ERROR_MISPLACED_XML_PI],
    }
)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Syntax(Enum):
    """The form of a file.

    Attributes:
        COMPLETE: One document that has ended; nothing can follow.
        SEQUENCE: Several documents one after the other; more could follow.
        ILL_FORMED: Neither.
        UNKNOWN: Not checked: another kind of file, too large, of too many documents, or in an encoding that the parser
            does not know.
    """

    COMPLETE = "complete"
    SEQUENCE = "sequence"
    ILL_FORMED = "ill-formed"
    UNKNOWN = "unknown"


def check_syntax(name: str, content: bytes) -> Syntax:
    """Return the form of a file's content; the ending of the name says what it should be."""
    kind = content_kind(name)
    if kind is None or len(content) > LARGEST_CHECKED_BYTES:
        return Syntax.UNKNOWN
    return _check_xml(content) if kind == "xml" else _check_json(content)


class _UnfitError(Exception):
    """The document is refused for what it holds, although it may be well-formed."""


def _check_xml(content: bytes) -> Syntax:
    documents, start = 0, 0
    while documents <= _MOST_DOCUMENTS and _NOT_SPACE.search(content, start):
        try:
            end = _end_of_document(content, start)
        except (expat.ExpatError, _UnfitError):
            return Syntax.ILL_FORMED
        except (LookupError, ValueError):  # the encoding is unknown, or has several bytes per character
            return Syntax.UNKNOWN
        documents += 1
        start = end
    return _form_of(documents)


def _form_of(documents: int) -> Syntax:
    """Return the form of a file of so many documents and nothing else."""
    if documents > _MOST_DOCUMENTS:
        return Syntax.UNKNOWN
    return Syntax.ILL_FORMED if not documents else Syntax.COMPLETE if documents == 1 else Syntax.SEQUENCE


def _end_of_document(content: bytes, start: int) -> int:
    """Return where the document that starts here ends: at the start of the next one, or at the end of the content.

    Raises:
        ExpatError: It is not well-formed.
        _UnfitError: It has a document type, or is nested too deeply.
    """
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse  # entities are declared in it, and never needed by an event
    # No handler for elements: calling one takes ten times as long as parsing.
    depth, may_be_deep = 0, len(content) - start > _SHORTEST_DEEP_BYTES
    try:
        for position in range(start, len(content), _PIECE_BYTES):
            piece = content[position : position + _PIECE_BYTES]
            parser.Parse(piece, False)
            if may_be_deep:
                depth += piece.count(b"<") - 2 * piece.count(b"</") - piece.count(b"/>")
            if depth > _DEEPEST:
                raise _UnfitError
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        if error.code in _NEXT_DOCUMENT and parser.ErrorByteIndex > 0:
            return start + parser.ErrorByteIndex
        raise
    return len(content)


def _refuse(*_: object) -> None:
    raise _UnfitError


def _check_json(content: bytes) -> Syntax:
    try:
        text = content.decode(next((codec for bom, codec in _BOMS if content.startswith(bom)), "utf-8"))
        documents = _count_documents(text)
    except (ValueError, RecursionError):  # also of bytes that are no text
        return Syntax.ILL_FORMED
    return _form_of(documents)


def _count_documents(text: str) -> int:
    decoder = json.JSONDecoder(parse_constant=_refuse_constant)
    documents, position = 0, 0
    while documents <= _MOST_DOCUMENTS and (position := _skip_space(text, position)) < len(text):
        _, position = decoder.raw_decode(text, position)
        documents += 1
    return documents


def _skip_space(text: str, position: int) -> int:
    found = _NOT_SPACE_TEXT.search(text, position)
    return found.start() if found else len(text)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
