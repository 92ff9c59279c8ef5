"""Finds the encoding of XML and JSON files: byte order mark, zero bytes, declaration; UTF-8 otherwise.

Contains names and rules only. See ``window.py`` for reading: files of two and four bytes per character are converted
to UTF-8 as they are read, while all others are split as they are and decoded event by event, so that an undecodable
byte costs only its own event.
"""

import codecs
import re
from dataclasses import dataclass

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it starts with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Without a mark, the first character is an ASCII character and shows how wide characters are.
_ZEROS = (
    (re.compile(rb"[^\0]\0\0\0"), "utf-32-le"),
    (re.compile(rb"\0\0\0[^\0]"), "utf-32-be"),
    (re.compile(rb"[^\0]\0"), "utf-16-le"),
    (re.compile(rb"\0[^\0]"), "utf-16-be"),
)
_WIDE = ("utf-16", "utf-32")
_DECLARED = re.compile(rb"""<\?xml\s[^>]*?\bencoding\s*=\s*(?:"([A-Za-z][\w.-]*)"|'([A-Za-z][\w.-]*)')""", re.ASCII)
# Encodings in which the bytes of markup stand for nothing else, so that a file can be split before it is decoded.
# Encodings with shift states (ISO-2022, UTF-7, HZ) are left out: in them, text and markup share bytes.
_SPLITTABLE = re.compile(
    r"ascii|utf-8|iso8859-\d+|latin-1|cp125\d|cp437|cp85\d|cp866|cp874|cp932|cp949|cp950"
    r"|koi8-[rtu]|mac-\w+|shift_jis|euc_jp|euc_kr|gb2312|gbk|gb18030|big5|tis-620"
)


@dataclass(frozen=True)
class FileEncoding:
    """How the bytes of a file stand for text.

    Attributes:
        name: Python's name of the encoding that the first bytes show.
        mark: Number of bytes of the byte order mark.
        is_certain: Whether a mark or zero bytes show it; then a declaration cannot change it.
    """

    name: str
    mark: int
    is_certain: bool

    @property
    def is_wide(self) -> bool:
        """Whether every character has at least two bytes."""
        return self.name.startswith(_WIDE)


def find_encoding(head: bytes) -> FileEncoding:
    """Return the encoding that the first bytes of a file show; the declaration is not looked at."""
    for mark, name in _BOMS:
        if head.startswith(mark):
            return FileEncoding(name, len(mark), is_certain=True)
    for pattern, name in _ZEROS:
        if pattern.match(head):
            return FileEncoding(name, 0, is_certain=True)
    return FileEncoding("utf-8", 0, is_certain=False)


def declared_encoding(markup: bytes) -> str | None:
    """Return the encoding that the last XML declaration in ``markup`` names, in its own spelling; ``None`` without."""
    found = None
    for match in _DECLARED.finditer(markup):
        found = (match[1] or match[2]).decode("ascii")
    return found


def codec_of(declared: str) -> str | None:
    """Return Python's name of a declared encoding; ``None`` if it is unknown or cannot be split."""
    try:
        name = codecs.lookup(declared).name
    except LookupError:
        return None
    return name if _SPLITTABLE.fullmatch(name) else None


def is_wide(declared: str) -> bool:
    """Return whether a declaration names an encoding in which every character has at least two bytes."""
    try:
        return codecs.lookup(declared).name.startswith(_WIDE)
    except LookupError:
        return False


def is_same_family(declared: str, name: str) -> bool:
    """Return whether a declaration agrees with a certain encoding: UTF-16 names both byte orders."""
    try:
        return name.startswith(codecs.lookup(declared).name)
    except LookupError:
        return False
