"""Generates telemetry files like those of the organisers from a seed: any size, in the memory of one car.

The structure is that of the real files: blocks of cars in text order, ascending laps with time descending within a lap,
car clocks that are days behind, and messages of several frames. The values are integers times the resolution of the
channel, so that numbers like 0.34600000000000003 are as frequent as in real files; coordinates have single precision
and do not change between two fixes of the receiver. Frames with the time of the previous frame give the conflicting
readings and, where nothing changed, most of the exact duplicates.

Run as ``python -m telemetry_engines.inputs PATH MEGABYTES SEED ORDER``, where ORDER is ``published`` or ``shuffled``.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from telemetry_engines.contract import FILE_COLUMNS, LOST_LAP

_CARS = 20
_FAST = 9
# In the order within a frame; the last three are sent with every fifth frame only.
_CHANNELS = (
    "accx_can",
    "accy_can",
    "ath",
    "pbrake_r",
    "pbrake_f",
    "gear",
    "VBOX_Long_Minutes",
    "VBOX_Lat_Min",
    "Steering_Angle",
    "speed",
    "Laptrigger_lapdist_dls",
    "nmot",
)
_SLOW_EVERY = 5
_FRAME_STEPS_MS = (43, 43, 43, 43, 44, 44, 44, 48)
_FRAMES_PER_S = 1000 / 44
_BYTES_PER_READING = 133.1
_READINGS_PER_FRAME = _FAST + 3 / _SLOW_EVERY

# Measured in the Barber files: 2 % of the frames have the time of the previous frame. Together with channels that do
# not change in between, this gives 0.8 % exact duplicates and 1 % conflicting readings, as in those files.
_BURST_FRAMES = 0.02
# A message holds 6 frames on average, up to 18.
_MESSAGE_FRAMES, _LONGEST_MESSAGE = 6, 18

_LAP_MS = 97_000
_LAP_M = 3_729
_FIX_MS = 100
# The device finds its lap when the race starts.
_LOST_MS, _LOST_SHARE = 480_000, 0.12
_START_MS = 1_757_181_600_000
_BEHIND_MS = 160_000_000


@dataclass(frozen=True)
class _Frames:
    """One car's frames in the order they were sampled; times in milliseconds of the car's own clock since its start."""

    time_ms: np.ndarray
    received_ms: np.ndarray
    lap: np.ndarray
    values: np.ndarray
    """Shape (frames, channels); NaN if a channel was not sent."""


def write_input(path: Path, megabytes: float, seed: int, *, is_shuffled: bool) -> None:
    """Write a telemetry file of about this size; a shuffled one needs several times its size in memory."""
    rng = np.random.default_rng(seed)
    frames = int(megabytes * 1e6 / _CARS / _BYTES_PER_READING / _READINGS_PER_FRAME)
    cars = (_readings(rng, number, frames) for number in range(1, _CARS + 1))
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as stream:
        stream.write((",".join(FILE_COLUMNS) + "\n").encode())
        for table in _shuffled(rng, cars) if is_shuffled else cars:
            pa_csv.write_csv(table, stream, pa_csv.WriteOptions(include_header=False, quoting_style="none"))
    partial.replace(path)


def _shuffled(rng: np.random.Generator, cars: Iterator[pa.Table]) -> Iterator[pa.Table]:
    table = pa.concat_tables(cars)
    yield table.take(pa.array(rng.permutation(table.num_rows)))


def _readings(rng: np.random.Generator, number: int, count: int) -> pa.Table:
    frames = _frames(rng, count)
    # Laps are ascending, so the lost lap is last; within a lap the newest frame is first.
    order = np.lexsort((-np.arange(count), frames.lap))
    values = frames.values[order]
    in_order, channel = np.nonzero(~np.isnan(values))
    frame, value = order[in_order], values[in_order, channel]
    vehicle_id = f"GR86-{number + 2:03d}-{number}"
    clock_start_ms = _START_MS - _BEHIND_MS - number * 7_654_321
    columns = {
        "lap": pa.array(frames.lap[frame]),
        "meta_event": "I_R06_2025-09-07",
        "meta_session": "R1",
        "meta_source": "kafka:gr-raw",
        "meta_time": _texts(_START_MS + frames.received_ms).take(pa.array(frame)),
        "original_vehicle_id": vehicle_id,
        "outing": "0",
        "telemetry_name": pa.array(_CHANNELS).take(pa.array(channel)),
        "telemetry_value": pa.array(value).cast(pa.string()),
        "timestamp": _texts(clock_start_ms + frames.time_ms).take(pa.array(frame)),
        "vehicle_id": vehicle_id,
        "vehicle_number": str(number),
    }
    filled = {name: columns.get(name, "") for name in FILE_COLUMNS}
    return pa.table(
        {name: pa.repeat(part, len(frame)) if isinstance(part, str) else part for name, part in filled.items()}
    )


def _frames(rng: np.random.Generator, count: int) -> _Frames:
    sampled_ms = np.cumsum(rng.choice(_FRAME_STEPS_MS, count)).astype(np.int64)
    lengths = np.minimum(rng.geometric(1 / _MESSAGE_FRAMES, count), _LONGEST_MESSAGE)
    ends = np.minimum(np.cumsum(lengths), count) - 1
    received_ms = np.repeat(sampled_ms[ends] + rng.integers(600, 1_400, count), lengths)[:count]
    before = np.maximum(np.arange(count) - (rng.random(count) < _BURST_FRAMES), 0)
    lost_ms = min(_LOST_MS, int(sampled_ms[-1] * _LOST_SHARE))
    lap = np.where(sampled_ms < lost_ms, LOST_LAP, 1 + (sampled_ms - lost_ms) // _LAP_MS)
    return _Frames(sampled_ms[before], received_ms[before], lap, _values(rng, sampled_ms))


def _values(rng: np.random.Generator, sampled_ms: np.ndarray) -> np.ndarray:
    """Return values by frame and channel: a curve over the lap plus sensor noise, rounded to the resolution."""
    count = len(sampled_ms)
    lap = sampled_ms / _LAP_MS % 1
    fix = sampled_ms // _FIX_MS * _FIX_MS / _LAP_MS % 1
    push = _curve(lap, 3)
    braking = np.maximum(-60 * push - 45, 0)
    noise = rng.standard_normal((10, count))
    by_channel = {
        "accx_can": _steps(0.35 * push + 0.03 * noise[0], 0.001),
        "accy_can": _steps(0.6 * _curve(lap, 1) + 0.03 * noise[1], 0.001),
        "ath": _steps(np.clip(70 + 90 * push + 0.3 * noise[2], 2.5, 100.1), 0.01),
        "pbrake_r": _steps(np.where(braking > 0, np.abs(braking + 0.3 * noise[3]), 0), 0.005),
        "pbrake_f": _steps(np.where(braking > 0, np.abs(braking + 0.3 * noise[4]), 0), 0.005),
        "gear": _steps(np.clip(3 + 1.8 * _curve(lap, 4), 1, 5), 1),
        "VBOX_Long_Minutes": _single_precision(-86.6195 + 0.005 * _curve(fix, 5)),
        "VBOX_Lat_Min": _single_precision(33.5327 + 0.0032 * _curve(fix, 6)),
        "Steering_Angle": _steps(35 * _curve(lap, 2) + 0.3 * noise[5], 0.1),
        "speed": _steps(120 + 45 * _curve(lap, 4) + 0.5 * noise[6], 0.01),
        "Laptrigger_lapdist_dls": _steps(lap * _LAP_M, 1),
        "nmot": _steps(5_700 + 800 * push + 60 * noise[7], 1),
    }
    values = np.column_stack([by_channel[name] for name in _CHANNELS])
    values[np.arange(count) % _SLOW_EVERY > 0, _FAST:] = np.nan
    return values


def _curve(lap: np.ndarray, number: int) -> np.ndarray:
    """Return a curve over the lap, about -1 to 1, different for each number and equal for all cars."""
    phases = np.random.default_rng(number).random(5) * 2 * np.pi
    waves = [np.sin(2 * np.pi * times * lap + phase) for times, phase in zip((1, 2, 4, 7, 11), phases, strict=True)]
    return np.sum(waves, axis=0) / 2.5


def _steps(values: np.ndarray, resolution: float) -> np.ndarray:
    """Return the multiples that a device sends; the product turns 346 into 0.34600000000000003."""
    return np.round(values / resolution) * resolution + 0.0  # avoids minus zero


def _single_precision(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32).astype(np.float64)


def _texts(ms: np.ndarray) -> pa.Array:
    return pc.strftime(pa.array(ms, pa.timestamp("ms", "UTC")), "%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    _path, _megabytes, _seed, _order = sys.argv[1:]
    write_input(Path(_path), float(_megabytes), int(_seed), is_shuffled=_order == "shuffled")
