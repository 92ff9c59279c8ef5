"""Draws simple charts as SVG text, small enough to be stored in an event log.

A drawing has a background of its own and follows the reader's light or dark mode, so it is readable on any page. It is
text with integer coordinates: a few kilobytes, made in a few milliseconds, without a plotting library.
"""

import re
from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise
from urllib.parse import quote

Point = tuple[float, float]

# What one picture may weigh as Markdown: it is stored twice with every materialization.
MAX_BYTES = 60_000

# Okabe and Ito's colours, which people with colour blindness can tell apart; lighter ones on the dark background.
_STYLE = (
    "svg{--b:#fff;--i:#1b2733;--m:#5b6775;--g:#dde3ea;--x:#0072b2;--y:#d55e00;--z:#009e73;"
    "font:12px system-ui,sans-serif}"
    "@media(prefers-color-scheme:dark){svg{--b:#15191f;--i:#e8edf2;--m:#9aa7b4;--g:#2d353f;"
    "--x:#56b4e9;--y:#f0a04b;--z:#3fc79a}}"
    ".b{fill:var(--b)}.i{fill:var(--i)}.m{fill:var(--m)}.x{fill:var(--x)}.y{fill:var(--y)}.z{fill:var(--z)}"
    ".l{fill:none;stroke-linecap:round;stroke-linejoin:round}"
    ".g{stroke:var(--g)}.n{stroke:var(--m)}.X{stroke:var(--x)}.Y{stroke:var(--y)}.Z{stroke:var(--z)}"
    ".e{text-anchor:end}.c{text-anchor:middle}.t{font-weight:600}"
)
# Classes of a stroke and of a fill, by the meaning of the colour.
STROKES = {"grid": "l g", "muted": "l n", "main": "l X", "accent": "l Y", "good": "l Z"}
FILLS = {"ink": "i", "muted": "m", "main": "x", "accent": "y", "good": "z"}
_ANCHORS = {"start": "", "end": " e", "middle": " c"}

# XML allows no control characters, and an id or number from a raw file may contain any.
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd]")
_LONGEST_TEXT = 90

# Characters that are safe in a data URI inside Markdown: no space and no parenthesis, which would end it, and no
# ampersand: Markdown decodes &lt; in an address, and what was text would be markup.
_SAFE = "/:,=-.!*~?@$+"
# What may be in the name of an image: anything else may be markup or end the line.
_NOT_IN_NAME = re.compile(r"[^\w ,.:#-]+")


class Drawing:
    """Collects shapes and returns them as SVG.

    Args:
        width: In pixels.
        height: In pixels.
        title: Printed in the top left corner, and read out by screen readers.
    """

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width = width
        self.height = height
        self._title = title
        self._shapes: list[str] = []
        self.text(14, 22, title, weight="t")

    def text(
        self, x: float, y: float, text: str, *, fill: str = "ink", anchor: str = "start", weight: str = ""
    ) -> None:
        """Write text with its baseline at a position."""
        classes = f"{FILLS[fill]}{_ANCHORS[anchor]}{' ' + weight if weight else ''}"
        self._shapes.append(f'<text x="{x:.0f}" y="{y:.0f}" class="{classes}">{_printable(text)}</text>')

    def line(self, start: Point, end: Point, *, stroke: str = "grid") -> None:
        """Draw a straight line."""
        self.path([[start, end]], stroke=stroke)

    def path(self, lines: Iterable[Sequence[Point]], *, stroke: str = "main", width: float = 1) -> None:
        """Draw polylines as one shape; a line of one point becomes a dot of the line's width."""
        self._path("".join(_path_data(line) for line in lines), stroke, width)

    def dots(self, across: Iterable[float], y: float, *, stroke: str = "main", width: float = 4) -> None:
        """Draw dots in a row, each step relative to the one before: six characters per dot."""
        pixels = sorted({round(x) for x in across})
        if pixels:
            steps = "".join(f"m{x - before},0h0" for before, x in pairwise(pixels))
            self._path(f"M{pixels[0]},{y:.0f}h0{steps}", stroke, width)

    def _path(self, data: str, stroke: str, width: float) -> None:
        if data:
            self._shapes.append(f'<path d="{data}" class="{STROKES[stroke]}" stroke-width="{width:g}"/>')

    def bar(self, x: float, y: float, width: float, height: float, *, fill: str = "main") -> None:
        """Draw a filled rectangle."""
        self._shapes.append(
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{max(1, width):.0f}" height="{height:.0f}" rx="2" '
            f'class="{FILLS[fill]}"/>'
        )

    @property
    def svg(self) -> str:
        """The drawing as an SVG document."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
            f'viewBox="0 0 {self.width} {self.height}" role="img"><title>{_printable(self._title)}</title>'
            f'<style>{_STYLE}</style><rect width="100%" height="100%" rx="6" class="b"/>{"".join(self._shapes)}</svg>'
        )

    @property
    def markdown(self) -> str:
        """The drawing as a Markdown image."""
        name = _NOT_IN_NAME.sub(" ", self._title)
        return f"![{name}](data:image/svg+xml,{quote(self.svg, safe=_SAFE)})"


class Scale:
    """Maps values to pixels, linearly.

    Args:
        low: Value at the first pixel.
        high: Value at the last pixel.
        first: Pixel of ``low``.
        last: Pixel of ``high``.
    """

    def __init__(self, low: float, high: float, first: float, last: float) -> None:
        self.low = low
        self.high = high if high > low else low + 1
        self._first = first
        self._last = last

    def __call__(self, value: float) -> float:
        """Return the pixel of a value; values outside the scale are put on its edge."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self._first + share * (self._last - self._first)

    def ticks(self, most: int) -> list[float]:
        """Return at most this many round values within the scale."""
        span = self.high - self.low
        exponent = 10.0 ** int(f"{span / most:e}".split("e")[1])
        step = next(factor * exponent for factor in (1, 2, 2.5, 5, 10, 20) if span / (factor * exponent) <= most - 1)
        first = int(-(-self.low // step))
        return [number * step for number in range(first, int(self.high // step) + 1)][:most]


def fits(markdown: str) -> bool:
    """Return whether a picture is small enough to be stored."""
    return len(markdown.encode()) <= MAX_BYTES


def _path_data(points: Sequence[Point]) -> str:
    """Return the points as an absolute start and relative steps; equal neighbours are one point."""
    pixels = [(round(x), round(y)) for x, y in points]
    if not pixels:
        return ""
    steps = [
        f"l{x - before_x},{y - before_y}"
        for (before_x, before_y), (x, y) in pairwise(pixels)
        if (x, y) != (before_x, before_y)
    ]
    return f"M{pixels[0][0]},{pixels[0][1]}" + ("".join(steps) or "h0")


def _printable(text: str) -> str:
    clean = _UNPRINTABLE.sub("?", text)
    return escape(clean if len(clean) <= _LONGEST_TEXT else f"{clean[: _LONGEST_TEXT - 1]}…")
