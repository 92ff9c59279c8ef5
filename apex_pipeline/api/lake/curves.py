"""The curves of a lap: its channels along time or distance, as JSON by channel or as rows for CSV and Arrow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa

from apex_pipeline.api.lake.downsampling import Curve, Floats, picked_points
from apex_pipeline.api.lake.errors import RequestError
from apex_pipeline.api.lake.limits import MAX_CHANNELS, MAX_ROWS
from apex_pipeline.tables import TELEMETRY

# Samples of the slowest channel are 0.22 s apart; telemetry_holes lists holes from the same width on.
HOLE_S: Final = 0.5
# Columns of telemetry up to here say where a sample belongs; the channels follow.
_LAST_KEY_COLUMN: Final = "unit_lap"
_UNITS: Final = {column.name: column.unit for column in TELEMETRY.columns} | {"time_s": "s", "error_s": "s"}
DISTANCE: Final = "distance_m"


@dataclass(frozen=True)
class LapCurves:
    """The channels of a lap.

    Attributes:
        axis: Name of what they are given along, like ``time_s``.
        curves: The channels by name.
        said: What is known about all of them, for JSON.
    """

    axis: str
    curves: Mapping[str, Curve]
    said: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def points(self) -> int:
        """Number of points of all channels."""
        return sum(curve.x.size for curve in self.curves.values())

    def channels(self) -> dict[str, Any]:
        """Return each channel with unit, points and number of holes, for JSON; null where a hole is."""
        return {
            name: {"unit": _UNITS.get(name) or None, "holes": curve.holes, self.axis: curve.x, "value": curve.y}
            for name, curve in self.curves.items()
        }

    def rows(self) -> pa.Table:
        """Return one row per point: channel, place, value."""
        names = np.repeat(np.array(list(self.curves), dtype=object), [one.x.size for one in self.curves.values()])
        x, y = (_joined([getattr(one, axis) for one in self.curves.values()]) for axis in ("x", "y"))
        values = pa.array(y, from_pandas=True)
        return pa.table({"channel": pa.array(names, pa.string()), self.axis: pa.array(x), "value": values})


def time_curves(samples: pa.Table, start_ms: int | None, channels: Sequence[str] | None, most: int | None) -> LapCurves:
    """Return the channels of a lap along time since its start.

    Args:
        samples: Its samples.
        start_ms: Its start, milliseconds since 1970 UTC; by default its first sample.
        channels: The channels wanted; by default all with a value.
        most: Most points of each; by default all samples.

    Raises:
        RequestError: A column is no channel, or there are too many channels or points.
    """
    if len(channels or ()) > MAX_CHANNELS:
        raise RequestError(f"More than {MAX_CHANNELS} channels are asked for.", "Ask for fewer at once.")
    times_ms = samples["sample_time_utc"].cast(pa.int64()).to_numpy()
    first = start_ms if start_ms is not None else int(times_ms[0]) if times_ms.size else 0
    times_s = (times_ms - first) / 1000
    curves: dict[str, Curve] = {}
    for name in channels or channel_names(samples.schema):
        _require_channel(samples.schema, name)
        values = samples[name].cast(pa.float64()).to_numpy()
        if channels is None and not np.isfinite(values).any():
            continue
        curves[name] = picked_points(times_s, values, most, HOLE_S)
    found = LapCurves("time_s", curves)
    require_few(found)
    return found


def _require_channel(schema: pa.Schema, name: str) -> None:
    if not pa.types.is_floating(schema.field(name).type):
        raise RequestError(
            f"{name} is a column of telemetry, but no channel.", "Choose among the channels: speed_kph …"
        )


def require_few(found: LapCurves) -> None:
    """Raise a ``RequestError`` if there are more points than an answer may have."""
    if found.points > MAX_ROWS:
        raise RequestError(
            f"The lap has {found.points:,} points, and {MAX_ROWS:,} can be answered.", "Add max_points=2000."
        )


def distance_curves(rows: pa.Table, step_m: float, most: int | None) -> LapCurves:
    """Return a lap along the distance of its track.

    Args:
        rows: The lap at equal steps: ``distance_m``, ``time_s``, ``error_s`` and channels.
        step_m: The steps, metres.
        most: Most points of each channel; by default all.

    Raises:
        RequestError: There are too many points.
    """
    distance_m = rows[DISTANCE].to_numpy()
    names = [name for name in rows.schema.names if name != DISTANCE]
    curves = {
        # What is missing between two points that belong together is a hole.
        name: picked_points(distance_m, rows[name].cast(pa.float64()).to_numpy(), most, 1.5 * step_m)
        for name in names
    }
    metadata = rows.schema.metadata or {}
    notes = metadata.get(b"notes", b"").decode().splitlines()
    found = LapCurves(DISTANCE, curves, {"method": metadata.get(b"method", b"").decode(), "notes": notes})
    require_few(found)
    return found


def channel_names(schema: pa.Schema) -> list[str]:
    """Return the channels of a session's telemetry."""
    return schema.names[schema.get_field_index(_LAST_KEY_COLUMN) + 1 :]


def _joined(parts: Sequence[Floats]) -> Floats:
    return np.concatenate(parts) if parts else np.zeros(0)
