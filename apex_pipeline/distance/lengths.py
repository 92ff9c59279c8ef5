"""The length of each track: from a data file, or from the average speeds and lap times of official timing.

One length per track makes laps comparable; see ``track_lengths.yaml`` for those that are known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from apex_pipeline.distance.arrays import as_numbers
from apex_pipeline.errors import SettingFileError
from apex_pipeline.yaml_files import load_yaml

# The shortest kart tracks have 0.3 km, the Nordschleife with its Grand Prix track 25.4 km.
_SHORTEST_M = 200.0
_LONGEST_M = 30_000.0
# A length from fewer laps could be that of one wrong cell.
_FEWEST_LAPS = 3


@dataclass(frozen=True)
class TrackLength:
    """The length of a track and what it rests on.

    Attributes:
        length_m: Metres along the line that timing uses.
        evidence: Where it comes from, as a phrase.
        latitude_deg: A point of the track, degrees; ``None`` where it is not known.
        longitude_deg: The same point.
    """

    length_m: float
    evidence: str
    latitude_deg: float | None = None
    longitude_deg: float | None = None

    @property
    def place(self) -> tuple[float, float] | None:
        """Latitude and longitude of a point of the track, degrees; ``None`` unless both are known."""
        if self.latitude_deg is None or self.longitude_deg is None:
            return None
        return self.latitude_deg, self.longitude_deg


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    slug: str = Field(min_length=1, pattern="^[a-z0-9_]+$")
    length_m: float = Field(ge=_SHORTEST_M, le=_LONGEST_M)
    evidence: str = Field(min_length=1)
    latitude_deg: float | None = Field(None, ge=-90, le=90)
    longitude_deg: float | None = Field(None, ge=-180, le=180)


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    tracks: tuple[_Entry, ...]


def read_track_lengths(path: Path | None = None) -> Mapping[str, TrackLength]:
    """Return the length of each known track by its slug.

    Args:
        path: The user's own file; its entries replace the built-in ones.

    Raises:
        SettingFileError: The file cannot be read, or an entry is invalid.
    """
    own = _lengths(_user_document(path)) if path is not None else {}
    return {**_built_in(), **own}


@cache
def _built_in() -> Mapping[str, TrackLength]:
    text = resources.files("apex_pipeline.distance").joinpath("track_lengths.yaml").read_text(encoding="utf-8")
    return _lengths(_Document.model_validate(yaml.safe_load(text)))


def _lengths(document: _Document) -> dict[str, TrackLength]:
    return {entry.slug: TrackLength(**entry.model_dump(exclude={"slug"})) for entry in document.tracks}


def _user_document(path: Path) -> _Document:
    try:
        return _Document.model_validate(load_yaml(path))
    except (OSError, yaml.YAMLError) as error:
        raise SettingFileError(
            f"The file of track lengths {path} cannot be read: {error}.",
            "Fix the file or the path in APEX_TRACK_LENGTHS_FILE.",
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise SettingFileError(
            f"The file of track lengths {path} has an invalid entry: {place}: {first['msg']}.",
            "Write it like track_lengths.yaml in the package: tracks with slug, length_m and evidence.",
        ) from error


def length_from_official(average_kph: Sequence[float], lap_time_s: Sequence[float]) -> TrackLength | None:
    """Return the length that most official laps agree on, each within the rounding of its average speed.

    Speeds are printed to 0.1 km/h, so each lap allows a range of lengths 1 to 6 m wide; the middle of the range that
    most laps share is exact to some centimetres with a whole race.

    Args:
        average_kph: Average speed of each lap; NaN where there is none.
        lap_time_s: Its time.

    Returns:
        ``None`` with fewer than 3 laps, or where fewer than half of them agree.
    """
    speed, time = as_numbers(average_kph), as_numbers(lap_time_s)
    known = np.isfinite(speed) & np.isfinite(time) & (speed > 0) & (time > 0)
    if known.sum() < _FEWEST_LAPS:
        return None
    speed, time = speed[known], time[known]
    half = 0.05 + 1e-9  # the speeds are multiples of 0.1, but not exactly so in binary
    edges = np.concatenate([(speed - half) * time, (speed + half) * time]) / 3.6
    steps = np.repeat([1, -1], len(speed))
    order = np.lexsort((-steps, edges))
    depth = np.cumsum(steps[order])
    deepest = int(np.argmax(depth))
    length = float(edges[order][deepest] + edges[order][deepest + 1]) / 2
    agreeing = int(depth[deepest])
    if 2 * agreeing < len(speed) or not _SHORTEST_M <= length <= _LONGEST_M:
        return None
    return TrackLength(round(length, 2), f"official km/h x lap time, {agreeing:,} of {len(speed):,} laps agree")
