"""Recognises the spellings of one car's id: case, separators and padding with zeros differ from file to file.

Contains the comparison of ids and of the crossings behind them; ``parsing.py`` splits an id, and ``laps/derivation.py``
and ``telemetry/convert.py`` replace the spellings by the published one.
"""

import re
import unicodedata
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from apex_pipeline.sources.gr_cup.laps.triggers import Trigger

_SEPARATORS = re.compile(r"[\W_]+")
# Messages about one crossing are up to half a second apart; two cars cross this close together only side by side.
_SAME_CROSSING_MS = 3_000
# With fewer laps counted alike at different times, one of them may be a message sent again.
_MIN_CONTRADICTIONS = 2

_Laps = dict[tuple[str, int], list[int]]


@dataclass(frozen=True)
class Spellings:
    """How the ids of one session are written.

    Attributes:
        published: The published id of each spelling.
    """

    published: Mapping[str, str]

    def of(self, vehicle_id: str) -> tuple[str, ...]:
        """Return all spellings of a published id, sorted."""
        return tuple(sorted(spelling for spelling, name in self.published.items() if name == vehicle_id))


def spelling_key(vehicle_id: str) -> tuple[str, ...]:
    """Return what all spellings of an id have in common: its parts in lower case, without leading zeros.

    The key contains the chassis, so that cars 03 and 3 of one race stay apart: ``GR86-004-03`` and ``GR86-006-3``.
    """
    return tuple(part.lstrip("0") or "0" if part.isdecimal() else part for part in _parts(vehicle_id))


def _parts(vehicle_id: str) -> tuple[str, ...]:
    text = unicodedata.normalize("NFKC", vehicle_id).casefold()
    return tuple(part for part in _SEPARATORS.split(text) if part)


def find_spellings(triggers: Sequence[Trigger]) -> Spellings:
    """Find the spellings of each car in the lap files; the one written most often is published.

    Two spellings whose laps contradict each other, the same lap ended at two times while both were on the track, are
    two cars: ids without a chassis may differ in nothing but a zero.
    """
    counts = Counter(trigger.vehicle_id for trigger in triggers)
    groups: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for spelling in sorted(counts, key=lambda name: (-counts[name], name)):
        groups[spelling_key(spelling)].append(spelling)
    shared = {spelling for group in groups.values() if len(group) > 1 for spelling in group}
    laps: defaultdict[str, _Laps] = defaultdict(dict)
    for trigger in triggers:
        if trigger.vehicle_id in shared and trigger.unit_lap is not None:
            times = laps[trigger.vehicle_id].setdefault((trigger.kind, trigger.unit_lap), [])
            times.append(trigger.trigger_utc_ms)
    published = {spelling: spelling for spelling in counts}
    for group in groups.values():
        published |= _published(group, laps)
    return Spellings(published)


def _published(group: Sequence[str], laps: Mapping[str, _Laps]) -> dict[str, str]:
    """Assign each spelling of a group, the commonest first, to the car it agrees with most."""
    cars: dict[str, list[str]] = {}
    for spelling in group:
        own = laps.get(spelling, {})
        possible = [name for name, of_car in cars.items() if not any(_contradict(own, laps[o]) for o in of_car)]
        best = max(
            possible, key=lambda name: (_agreeing(own, laps[name]), _parts(name) == _parts(spelling)), default=""
        )
        cars.setdefault(best or spelling, []).append(spelling)
    return {spelling: name for name, of_car in cars.items() for spelling in of_car}


def _contradict(one: _Laps, other: _Laps) -> bool:
    """Return whether two spellings ended the same laps at different times while both were on the track."""
    if not one or not other:
        return False
    start = max(min(map(min, one.values())), min(map(min, other.values())))
    end = min(max(map(max, one.values())), max(map(max, other.values())))
    distances = [
        min((abs(a - b) for a in one[lap] for b in other[lap] if start <= a <= end and start <= b <= end), default=None)
        for lap in one.keys() & other.keys()
    ]
    compared = [distance for distance in distances if distance is not None]
    apart = sum(distance > _SAME_CROSSING_MS for distance in compared)
    return apart >= _MIN_CONTRADICTIONS and 2 * apart > len(compared)


def _agreeing(one: _Laps, other: _Laps) -> int:
    """Return how many crossings of the first are crossings of the second, too, whatever the kind of file."""
    times = sorted(time for of_lap in other.values() for time in of_lap)
    return sum(_is_near(time, times) for of_lap in one.values() for time in of_lap)


def _is_near(time: int, times: Sequence[int]) -> bool:
    at = bisect_left(times, time - _SAME_CROSSING_MS)
    return at < len(times) and times[at] <= time + _SAME_CROSSING_MS


def with_published_ids(triggers: Iterable[Trigger], spellings: Spellings) -> list[Trigger]:
    """Return the triggers with the published id of their car."""
    return [
        trigger
        if spellings.published[trigger.vehicle_id] == trigger.vehicle_id
        else replace(trigger, vehicle_id=spellings.published[trigger.vehicle_id])
        for trigger in triggers
    ]


def match_spellings(counts: Mapping[str, int], known: Iterable[str]) -> Spellings:
    """Return the published id of each spelling found in telemetry.

    Args:
        counts: Readings of each spelling.
        known: Ids that the lap files publish. They are kept; a spelling that fits several of them, or none, is compared
            with the other spellings only.
    """
    by_key: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    ids = set(known)
    for vehicle_id in sorted(ids):
        by_key[spelling_key(vehicle_id)].append(vehicle_id)
    commonest: dict[tuple[str, ...], str] = {}
    for spelling in sorted(counts, key=lambda name: (-counts[name], name)):
        commonest.setdefault(spelling_key(spelling), spelling)
    published: dict[str, str] = {}
    for spelling in counts:
        key = spelling_key(spelling)
        candidates = by_key[key] or [commonest[key]]
        published[spelling] = spelling if spelling in ids or len(candidates) > 1 else candidates[0]
    return Spellings(published)
