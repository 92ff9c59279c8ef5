"""Maps the channel names that the cars send to the published columns."""

import hashlib
import re
from collections import defaultdict
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

# Hexadecimal digits of the code of a channel. Of 20 channels without a name two have the same six digits once in
# 90,000 sessions; they then get the longer code, which tells those of a session with 1,000 channels apart.
_CODE_DIGITS, _LONGER_CODE = 6, 12

# Names that a channel cannot use: the other published columns, and the internal names of the pivot.
_RESERVED = frozenset(TELEMETRY.schema.names) - frozenset(PUBLISHED_NAMES.values()) | {
    "frame_ms",
    "car_ms",
    "received_ms",
}


def column_of(channel: str) -> str:
    """Return the column of a raw channel; an unknown channel keeps its name, converted to a valid column name.

    A name that may be a person's is not published: its column has a code made from it, the same in every session.
    """
    known = PUBLISHED_NAMES.get(channel.lower())
    own = re.sub(r"[^A-Za-z0-9_]+", "_", channel).strip("_") if may_be_shown(channel) else ""
    name = known or own or f"unnamed_{_code(channel, _CODE_DIGITS)}"
    return f"channel_{name}" if name.lower() in _RESERVED else name


def columns_of(channels: Iterable[str]) -> dict[str, str]:
    """Return the column of each raw channel of a session.

    Two spellings of a known channel share its column. Two unknown channels that would share one, because their names
    differ only in case or in characters that are invalid in a column name, do not: they may measure different
    quantities. The one whose name is the column keeps it; the others get a code made from their names.
    """
    columns = {channel: column_of(channel) for channel in sorted(channels)}
    users = defaultdict[str, list[str]](list)
    for channel, column in columns.items():
        users[column.lower()].append(channel)
    for sharing in users.values():
        exact = [name for name in sharing if name == columns[name]]
        keeping = {name for name in sharing if is_known(name)} or set(exact if len(exact) == 1 else ())
        if len(sharing) > 1:
            others = [name for name in sharing if name not in keeping]
            columns |= {name: f"{columns[name]}_{_code(name, _LONGER_CODE)}" for name in others}
    return columns


def is_known(channel: str) -> bool:
    """Return whether a raw channel has a description."""
    return channel.lower() in PUBLISHED_NAMES


def _code(channel: str, digits: int) -> str:
    return hashlib.sha256(channel.encode("utf-8", "surrogatepass")).hexdigest()[:digits]
