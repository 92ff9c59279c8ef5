"""Draws lines over the laps of a session as SVG that is as wide as the page, with text of one size at any width.

Lines are stretched with the page; labels are placed in per cent of the width and in pixels beside it, so none is
stretched. Colours are those of the page's style sheet: five for the first cars, a quiet one for the others.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from apex_pipeline.reports.markup import text

# Units across, for any number of laps: a thousandth of the width is less than a pixel.
_ACROSS = 1_000
# Cars with a colour of their own: more cannot be told apart by everybody.
COLOURS = 5
# Characters of a label that fit beside the lines.
_LONGEST = 9
# A lap number about every 40 pixels of a phone.
_MOST_TICKS = 7
_STEPS = (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1_000)

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One car.

    Attributes:
        name: What is said when it is pointed at.
        points: Lap number and height in pixels from the top, by lap; a lap that is missing is a gap.
        colour: 0 to 4, or ``None`` for the quiet one.
        dotted: Points of a dotted continuation.
    """

    name: str
    points: Sequence[Point]
    colour: int | None = None
    dotted: Sequence[Point] = ()


@dataclass(frozen=True)
class Frame:
    """What the lines are drawn in.

    Attributes:
        title: Read out by screen readers.
        first_lap: Lap number at the left edge.
        last_lap: Lap number at the right edge.
        height: Of the plot, in pixels.
    """

    title: str
    first_lap: int
    last_lap: int
    height: int

    def across(self, lap: float) -> float:
        """Return how far to the right a lap is, 0 to 1; a single lap is in the middle."""
        span = self.last_lap - self.first_lap
        return (lap - self.first_lap) / span if span else 0.5

    def lap_ticks(self) -> list[int]:
        """Return the laps that are named below the plot."""
        span = self.last_lap - self.first_lap
        step = next((step for step in _STEPS if span / step < _MOST_TICKS), _STEPS[-1])
        ticks = [lap for lap in range(self.first_lap, self.last_lap + 1) if lap % step == 0]
        first = [] if ticks and ticks[0] - self.first_lap < step / 2 else [self.first_lap]
        return [*first, *ticks]


@dataclass(frozen=True)
class Label:
    """A text beside the plot.

    Attributes:
        text: The text.
        y: Middle of the text, pixels from the top.
        of: Height of what it names; a thin line leads there.
        colour: As of a line.
    """

    text: str
    y: float
    of: float | None = None
    colour: int | None = None


def draw(frame: Frame, lines: Iterable[Line], left: Iterable[Label], right: Iterable[Label], y_axis: str) -> str:
    """Return the drawing; coloured lines lie above the others.

    Args:
        frame: What the lines are drawn in.
        lines: The cars.
        left: Labels to the left of the plot; a grid line goes from each to the right.
        right: Labels to the right of the plot.
        y_axis: What the heights are, with the unit.
    """
    left = list(left)
    grid = "".join(f"M0,{label.y:.0f}H{_ACROSS}" for label in left)
    ticks = frame.lap_ticks()
    grid += "".join(f"M{frame.across(lap) * _ACROSS:.0f},0V{frame.height}" for lap in ticks)
    ordered = sorted(lines, key=lambda line: line.colour is None, reverse=True)
    stretched = "".join(_line(frame, line) for line in ordered)
    names = "".join(_text(label, "-6", "e") for label in left)
    below = "".join(
        f'<text x="{frame.across(lap):.2%}" y="{frame.height + 16}" class="c">{lap}</text>' for lap in ticks
    )
    return (
        f'<div class="plot"><p class="axis">{text(y_axis)}</p>'
        f'<svg width="100%" height="{frame.height}" role="img"><title>{text(frame.title)}</title>'
        f'<svg width="100%" height="{frame.height}" viewBox="0 0 {_ACROSS} {frame.height}" preserveAspectRatio="none">'
        f'<path d="{grid}" class="g"/>{stretched}</svg>{names}{below}'
        f'<svg x="100%" height="{frame.height}">{"".join(_right(label) for label in right)}</svg></svg>'
        '<p class="axis x">lap</p></div>'
    )


def spread(wanted: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """Return heights in the same order that are at least ``apart``, each near its own, within the plot if they fit."""
    placed: list[float] = []
    for height in wanted:
        placed.append(max(height, placed[-1] + apart if placed else low))
    limit = high
    for place in range(len(placed) - 1, -1, -1):
        placed[place] = min(placed[place], limit)
        limit = placed[place] - apart
    return placed


def _line(frame: Frame, line: Line) -> str:
    classes = "l o" if line.colour is None else f"l c{line.colour}"
    dotted = f'<path d="{_path(frame, line.dotted)}" class="d"/>' if len(line.dotted) > 1 else ""
    return f'<g class="{classes}"><title>{text(line.name)}</title><path d="{_path(frame, line.points)}"/>{dotted}</g>'


def _path(frame: Frame, points: Sequence[Point]) -> str:
    parts: list[str] = []
    before: float | None = None
    for lap, height in points:
        is_next = before is not None and (lap - before == 1 or len(points) == 2)  # noqa: PLR2004  -- a dotted line
        parts.append(f"{'L' if is_next else 'M'}{frame.across(lap) * _ACROSS:.0f},{height:.0f}")
        # A lap alone is a dot, as wide as the line.
        parts += [] if is_next else ["h0"]
        before = lap
    return "".join(parts)


def _text(label: Label, dx: str, classes: str) -> str:
    return f'<text y="{label.y + 4:.0f}" dx="{dx}" class="{classes}">{text(_short(label.text))}</text>'


def _right(label: Label) -> str:
    colour = "o" if label.colour is None else f"c{label.colour}"
    lead = "" if label.of is None else f'<path d="M1,{label.of:.0f}L9,{label.y:.0f}" class="l {colour}"/>'
    return lead + _text(label, "12", f"n {colour}")


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}"
