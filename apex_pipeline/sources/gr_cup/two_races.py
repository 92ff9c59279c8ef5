"""Leaves out files of official laps that contradict the others of their session in mass: they are of another race.

A few rows that differ are corrections, and ``official_timing.py`` rejects them one by one.
"""

from collections.abc import Callable, Sequence

from apex_pipeline.errors import MalformedFileError
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.official_rows import ParsedFile
from apex_pipeline.sources.unreadable import UnreadableFile

# A corrected file changes a few laps; two races share hardly a single lap time. At least this many laps are compared.
_SHARE_OF_LAPS = 0.5
_LEAST_LAPS = 5


def without_contradictions(
    parsed: Sequence[ParsedFile], kind: FileKind, fit: Callable[[ParsedFile], float] | None = None
) -> tuple[list[ParsedFile], list[UnreadableFile]]:
    """Return the files that agree with one of them, and the others.

    Args:
        parsed: Files of one kind and session.
        kind: Their kind; files other than official laps are returned unchanged.
        fit: Returns how well a file fits the crossings of the cars; only called for files that contradict each other.
            The others must agree with the one that fits best. Without it, and if all fit alike, with the first one.
    """
    if kind is not FileKind.SECTIONS:
        return list(parsed), []
    kept, left_out = _compare(parsed)
    if not left_out or fit is None:
        return kept, left_out
    best_first = sorted(parsed, key=fit, reverse=True)
    kept, left_out = _compare(best_first)
    # The order of the files decides which of two equal rows is a repeat.
    return sorted(kept, key=lambda part: [part is other for other in parsed].index(True)), left_out


def _compare(parsed: Sequence[ParsedFile]) -> tuple[list[ParsedFile], list[UnreadableFile]]:
    """Return the files that agree with the first of them, and the others."""
    kept: list[ParsedFile] = []
    left_out: list[UnreadableFile] = []
    known: dict[tuple[object, ...], float] = {}
    for part in parsed:
        own = {(row["car_number"], row["entry"], row["lap_number"]): row.get("lap_time_s") for row in part.rows}
        both = [lap for lap in own if lap in known]
        differing = sum(own[lap] != known[lap] for lap in both)
        if len(both) >= _LEAST_LAPS and differing > _SHARE_OF_LAPS * len(both):
            left_out.append(_left_out(part, kept[0], differing, len(both)))
            continue
        kept.append(part)
        known.update({lap: time_s for lap, time_s in own.items() if isinstance(time_s, float)})
    return kept, left_out


def _left_out(part: ParsedFile, first: ParsedFile, differing: int, laps: int) -> UnreadableFile:
    path, other = part.rows[0]["source_file"], first.rows[0]["source_file"]
    error = MalformedFileError(
        f"{path} contradicts {other} in {differing:,} of {laps:,} laps, so it is of another race.",
        "Put the files of each race in a folder of its own, or remove the wrong one.",
    )
    return UnreadableFile(path, FileKind.SECTIONS, error)
