"""The names of channels: what the cars send and what we publish."""

import re
from collections.abc import Iterable

from apex_pipeline.tables import TELEMETRY

# Raw channel to published column. Two raw names carry "minutes" although the values are degrees; the organisers' notes
# write Speed and Gear, the data speed and gear.
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


# Columns that are no channel: the published ones, and those the widening works with.
_TAKEN = frozenset(TELEMETRY.schema.names) - frozenset(PUBLISHED_NAMES.values()) | {"frame_ms", "car_ms", "received_ms"}


def column_of(channel: str) -> str:
    """Return the column of a raw channel; an unknown one keeps its name, made fit for a column."""
    known = PUBLISHED_NAMES.get(channel.lower())
    name = known or re.sub(r"[^A-Za-z0-9_]+", "_", channel).strip("_") or "unnamed"
    return f"channel_{name}" if name.lower() in _TAKEN else name


def columns_of(channels: Iterable[str]) -> dict[str, str]:
    """Return the column of each raw channel of a session.

    Two spellings of a described channel share its column. Two unknown ones whose names differ only in what a column
    cannot carry do not: nothing says that they measure the same, so the later one in sort order is numbered.
    """
    columns: dict[str, str] = {}
    taken: set[str] = set()
    for channel in sorted(channels):
        column = name = column_of(channel)
        number = 2
        while not is_known(channel) and column.lower() in taken:
            column, number = f"{name}_{number}", number + 1
        taken.add(column.lower())
        columns[channel] = column
    return columns


def is_known(channel: str) -> bool:
    """Tell whether a raw channel has a description."""
    return channel.lower() in PUBLISHED_NAMES
