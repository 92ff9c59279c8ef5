"""Maps the channel names that the cars send to the published columns."""

import re
from collections.abc import Iterable

from apex_pipeline.sources.gr_cup.telemetry.channel_names import may_be_shown
from apex_pipeline.tables import TELEMETRY

# Raw channel to published column. Two raw names say "minutes" although the values are degrees; the organisers' notes
# spell Speed and Gear, the data speed and gear.
PUBLISHED_NAMES = {
    "speed": "speed_kph",
    "nmot": "engine_rpm",
    "gear": "gear",
    "ath": "throttle_blade_pct",
    "aps": "accelerator_pedal_pct",
    "pbrake_f": "brake_front_bar",
    "pbrake_r": "brake_rear_bar",
    "accx_can": "accel_long_g",
    "accy_can": "accel_lat_g",
    "steering_angle": "steering_deg",
    "vbox_lat_min": "latitude_deg",
    "vbox_long_minutes": "longitude_deg",
    "laptrigger_lapdist_dls": "lap_distance_m",
}


# Names that a channel cannot use: the other published columns, and the internal names of the pivot.
_RESERVED = frozenset(TELEMETRY.schema.names) - frozenset(PUBLISHED_NAMES.values()) | {
    "frame_ms",
    "car_ms",
    "received_ms",
}


def column_of(channel: str) -> str:
    """Return the column of a raw channel; an unknown channel keeps its name, converted to a valid column name.

    A name that may be a person's is not published.
    """
    known = PUBLISHED_NAMES.get(channel.lower())
    own = re.sub(r"[^A-Za-z0-9_]+", "_", channel).strip("_") if may_be_shown(channel) else ""
    name = known or own or "unnamed"
    return f"channel_{name}" if name.lower() in _RESERVED else name


def columns_of(channels: Iterable[str]) -> dict[str, str]:
    """Return the column of each raw channel of a session.

    Two spellings of a known channel share its column. Two unknown channels whose names differ only in characters that
    are invalid in a column name do not: they may measure different quantities, so the later one in sort order gets a
    number.
    """
    columns: dict[str, str] = {}
    used: set[str] = set()
    for channel in sorted(channels):
        column = name = column_of(channel)
        number = 2
        while not is_known(channel) and column.lower() in used:
            column, number = f"{name}_{number}", number + 1
        used.add(column.lower())
        columns[channel] = column
    return columns


def is_known(channel: str) -> bool:
    """Return whether a raw channel has a description."""
    return channel.lower() in PUBLISHED_NAMES
