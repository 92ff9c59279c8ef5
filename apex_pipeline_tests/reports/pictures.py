"""Takes a picture apart: what it says, and whether it is one that a browser draws."""

import re
from html import unescape
from urllib.parse import unquote
from xml.etree import ElementTree as ET

_SVG = "{http://www.w3.org/2000/svg}"


class Picture:
    """A picture as Markdown.

    Args:
        markdown: An image with a data URI.
    """

    def __init__(self, markdown: str | None) -> None:
        assert markdown is not None
        # A space or a parenthesis would end the address before its end.
        match = re.fullmatch(r"!\[[^\[\]\\\n\r<>&`]*\]\(data:image/svg\+xml,([^\s()]*)\)", markdown)
        assert match is not None, markdown[:200]
        self.bytes = len(markdown.encode())
        # Markdown decodes entities in an address before the browser decodes percent signs.
        self._root = ET.fromstring(unquote(unescape(match[1])))  # noqa: S314  -- made by this project
        self.width, self.height = int(self._root.attrib["width"]), int(self._root.attrib["height"])

    @property
    def texts(self) -> list[str]:
        """Everything that is written in it."""
        return [element.text or "" for element in self._root.iter(f"{_SVG}text")]

    @property
    def paths(self) -> list[str]:
        """The data of its paths."""
        return [element.attrib["d"] for element in self._root.iter(f"{_SVG}path")]

    @property
    def positions(self) -> list[tuple[float, float]]:
        """Every point of its paths, in pixels."""
        points: list[tuple[float, float]] = []
        for path in self.paths:
            for command, x, y in re.findall(r"([Mlm])(-?\d+),(-?\d+)", path):
                before = (0.0, 0.0) if command == "M" else points[-1]
                points.append((before[0] + float(x), before[1] + float(y)))
        return points

    @property
    def is_within_its_frame(self) -> bool:
        return all(0 <= x <= self.width and 0 <= y <= self.height for x, y in self.positions)
