"""Defines the byte layouts of the packets, as far as they are used, for every size each of them is known in.

A packet is told by its type and its size together: the version byte is no guide.
"""

import numpy as np

# Types of packets, byte 10 of the header.
PHYSICS, RACE, PARTICIPANTS, TIMINGS, GAME_STATE, TIME_STATS, NAMES = 0, 1, 2, 3, 4, 7, 8

# Offsets in the header that all packets begin with.
NUMBER_AT, PARTIAL_INDEX_AT, TYPE_AT = 0, 8, 10

CARS = 32  # entries of the packets; a larger field does not exist in them
NO_INDEX = 0xFFFF

ENTRY = np.dtype(
    {
        "names": [
            "position",
            "lap_distance",
            "race_position",
            "sector",
            "pit_mode",
            "car_index",
            "race_state",
            "lap",
            "clock",
            "sector_clock",
            "mp_index",
        ],
        "formats": [("<i2", 3), "<u2", "u1", "u1", "u1", "<u2", "u1", "u1", "<f4", "<f4", "<u2"],
        "offsets": [0, 12, 14, 15, 17, 18, 20, 21, 22, 26, 30],
        "itemsize": 32,
    }
)
_OLD_ENTRY = np.dtype(
    {
        "names": list(ENTRY.names or ())[:-1],
        "formats": [("<i2", 3), "<u2", "u1", "u1", "u1", "<u2", "u1", "u1", "<f4", "<f4"],
        "offsets": [0, 12, 14, 15, 17, 18, 20, 21, 22, 26],
        "itemsize": 30,
    }
)

# The three sector times that follow are those of the fastest sectors, not of the last lap.
_STATS = np.dtype({"names": ["last_lap", "last_sector"], "formats": ["<f4", "<f4"], "offsets": [4, 8], "itemsize": 32})
_OLD_STATS = np.dtype(
    {"names": ["last_lap", "last_sector"], "formats": ["<f4", "<f4"], "offsets": [4, 8], "itemsize": 24}
)
_VEHICLE = np.dtype(
    {"names": ["index", "class", "name"], "formats": ["<u2", "<u4", "S64"], "offsets": [0, 4, 8], "itemsize": 72}
)
_CLASS = np.dtype({"names": ["index", "name"], "formats": ["<u4", "S20"], "offsets": [0, 4], "itemsize": 24})


def _layout(size: int, fields: "dict[str, tuple[int, object]]") -> np.dtype[np.void]:
    return np.dtype(
        {
            "names": list(fields),
            "formats": [kind for _, kind in fields.values()],
            "offsets": [offset for offset, _ in fields.values()],
            "itemsize": size,
        }  # pyright: ignore[reportArgumentType]  -- the stub knows only one spelling of such a dictionary
    )


_PHYSICS_FIELDS: "dict[str, tuple[int, object]]" = {
    "viewed": (12, "i1"),
    "fuel_capacity": (28, "u1"),
    "brake": (29, "u1"),
    "throttle": (30, "u1"),
    "fuel_level": (32, "<f4"),
    "speed": (36, "<f4"),
    "rpm": (40, "<u2"),
    "steering": (44, "i1"),
    "gear": (45, "u1"),
    "yaw": (56, "<f4"),  # orientation[1]; [0] is pitch
}
_WITH_POSITION = _PHYSICS_FIELDS | {"x": (542, "<f4"), "z": (550, "<f4")}
_TIMING_FIELDS: "dict[str, tuple[int, object]]" = {"num": (12, "i1"), "changed": (13, "<u4")}
_TIMINGS = _TIMING_FIELDS | {"entries": (33, (ENTRY, CARS)), "local": (1057, "<u2")}

# 556 is what the vendor's header says; its own structure has 555 bytes.
LAYOUTS: dict[tuple[int, int], np.dtype[np.void]] = {
    (PHYSICS, 538): _layout(538, _PHYSICS_FIELDS),
    (PHYSICS, 555): _layout(555, _WITH_POSITION),
    (PHYSICS, 556): _layout(556, _WITH_POSITION),
    (PHYSICS, 559): _layout(559, _WITH_POSITION | {"tick": (555, "<u4")}),
    (RACE, 308): _layout(308, {"length": (44, "<f4"), "location": (48, "S64"), "variation": (112, "S64")}),
    (PARTICIPANTS, 1040): _layout(1040, {"name": (16, ("S64", 16))}),
    (PARTICIPANTS, 1136): _layout(1136, {"name": (16, ("S64", 16))}),
    (TIMINGS, 993): _layout(993, _TIMING_FIELDS | {"entries": (33, (_OLD_ENTRY, CARS))}),
    (TIMINGS, 1059): _layout(1059, _TIMINGS),
    (TIMINGS, 1063): _layout(1063, _TIMINGS | {"tick": (1059, "<u4")}),
    (GAME_STATE, 24): _layout(24, {"state": (14, "u1")}),
    (TIME_STATS, 784): _layout(784, {"cars": (16, (_OLD_STATS, CARS))}),
    (TIME_STATS, 1040): _layout(1040, {"cars": (16, (_STATS, CARS))}),
    (NAMES, 1164): _layout(1164, {"vehicles": (12, (_VEHICLE, 16))}),
    (NAMES, 1452): _layout(1452, {"classes": (12, (_CLASS, 60))}),
}

# Sizes of Project CARS 1, whose packet type is in the low two bits of byte 2.
PROJECT_CARS_1_SIZES = (1367, 1347, 1028)

# Bits of packed bytes.
LOW_3_BITS = 7
RACE_POSITION_BITS = 127
ENTRY_IS_ACTIVE = 128
LAP_INVALID_BIT_3, LAP_INVALID_BIT_7 = 8, 128
GEAR_BITS, REVERSE = 15, 15
IS_HUMAN, VEHICLE_BITS = 0x8000, 0x7FFF

# States of the game (byte 14, low three bits) in which a person or the machine drives the car.
PLAYING, PAUSED, MENU_TIME_TICKING, RESTARTING = 2, 3, 4, 5
DRIVEN_STATES = (PLAYING, MENU_TIME_TICKING)
FRONT_END_STATES = (0, 1, RESTARTING)

# States of a car in the race, and modes in the pits.
FINISHED = 3
DRIVING_IN, IN_BOX, DRIVING_OUT, GARAGE, LEAVING_GARAGE = 1, 2, 3, 4, 5
