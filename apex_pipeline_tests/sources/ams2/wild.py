"""Makes up recordings from a seed: random sessions, laps, rates, lags, losses, generations and containers."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from apex_pipeline.demo.race_packets import CONTAINERS, GENERATIONS, PacketOptions, packets, recording
from apex_pipeline.demo.race_script import (
    FINISHES,
    FRONT_END,
    LENGTH_M,
    PRACTICE,
    QUALIFYING,
    RACE,
    RESTARTING,
    Frame,
    LapOptions,
    Script,
)

_TRACKS = (("Interlagos", "GP"), ("Imola", "2001"))


@dataclass(frozen=True)
class WildRecording:
    """A made-up recording.

    Attributes:
        script: The truth about it.
        blob: The compressed recording.
        tolerance_s: Longest time between two of its samples that arrived.
        is_told: The game's state came often enough to tell its sessions apart.
    """

    script: Script
    blob: bytes
    tolerance_s: float
    is_told: bool


def wild_recording(seed: int) -> WildRecording:
    """Return the recording of a seed."""
    rng = random.Random(seed)  # noqa: S311  -- a test that can be repeated
    script = Script(rng.choice([1.0, 2.0, 5.0, 10.0, 20.0]), rng.choice([0.0, 0.0, 0.3, 0.8]))
    for place in range(rng.randrange(1, 4)):
        _session(script, rng, joins=place == 0 and rng.random() < 0.4)
    frames = _lagging(script.frames, rng.choice([0, 0, 1, -1]), rng.choice([0, 0, 1, -1]))
    options = PacketOptions(
        rng.choice(list(GENERATIONS)),
        sends_stats=rng.random() < 0.5,
        state_every_s=rng.choice([0.5, 1.0, 2.0, 5.0]),
    )
    loss = rng.choice([0.0, 0.0, 0.01])
    left_out = rng.choice([(), (), (), (7,), (8, 2)])
    sent = [packet for packet in packets(frames, options) if rng.random() >= loss and packet[10] not in left_out]
    longest_gap = (1 + script.unevenness) * (2 if loss else 1) / script.rate_hz
    is_told = options.state_every_s < 1 and not loss
    return WildRecording(script, recording(sent, rng.choice(CONTAINERS)), longest_gap + 0.002, is_told)


def _session(script: Script, rng: random.Random, *, joins: bool) -> None:
    kind = rng.choice([PRACTICE, QUALIFYING, RACE])
    script.begin_session(kind, rng.choice(_TRACKS))
    if joins:
        script.lap(rng.uniform(20, 30), LapOptions(from_s=rng.uniform(5, 15), kind="partial"))
    elif kind == RACE:
        script.stand(rng.uniform(1, 4), pit_mode=0)
    else:
        _from_pits(script, rng)
    for _ in range(rng.randrange(1, 5)):
        rng.choice([_whole, _whole, _whole, _given_up, _into_pits, _restarted])(script, rng)
    if kind == RACE and rng.random() < 0.5:
        script.finish(rng.uniform(20, 30), rng.choice(FINISHES))
    else:
        script.lap(25.0, LapOptions(until_s=rng.uniform(3, 20), kind="abandoned"))
    script.stand(3.0, game_state=FRONT_END)


def _from_pits(script: Script, rng: random.Random) -> None:
    script.stand(rng.uniform(1, 4))
    script.out_lap(rng.uniform(8, 13), counts_distance=rng.random() < 0.5)


def _whole(script: Script, rng: random.Random) -> None:
    options = LapOptions(
        is_invalid=rng.random() < 0.2,
        away_s=rng.choice([(3.0, 8.0), None, None]),
        pause_at_s=rng.choice([rng.uniform(1, 15), None, None]),
    )
    script.lap(rng.uniform(20, 30), options)


def _given_up(script: Script, rng: random.Random) -> None:
    seconds = rng.uniform(20, 30)
    script.lap(seconds, LapOptions(until_s=seconds * rng.uniform(0.2, 0.97), kind="abandoned"))
    _from_pits(script, rng)


def _into_pits(script: Script, rng: random.Random) -> None:
    seconds = rng.uniform(20, 30)
    script.lap(seconds, LapOptions(pits_from_s=seconds * 0.8, until_s=seconds * 0.95, kind="in"))
    _from_pits(script, rng)


def _restarted(script: Script, rng: random.Random) -> None:
    seconds = rng.uniform(20, 30)
    script.lap(seconds, LapOptions(until_s=seconds * rng.uniform(0.2, 0.97), kind="abandoned"))
    last = script.frames[-1]
    script.begin_session(last.session, last.track)
    script.stand(1.1, pit_mode=0, game_state=RESTARTING)
    script.stand(1.5, pit_mode=0)


def _lagging(frames: list[Frame], lap_lag: int, distance_lag: int) -> list[Frame]:
    """Return the frames with the lap number and the distance a frame before or after the clock at the line."""
    changed = list(frames)
    for place in _lines(frames):
        before, after = frames[place - 1], frames[place]
        if lap_lag:
            row, lap = (place, before.lap) if lap_lag > 0 else (place - 1, after.lap)
            changed[row] = replace(changed[row], lap=lap)
        if distance_lag:
            row, distance_m = (place, LENGTH_M - 1) if distance_lag > 0 else (place - 1, 0.0)
            changed[row] = replace(changed[row], distance_m=distance_m)
    return changed


def _lines(frames: list[Frame]) -> Iterator[int]:
    """Yield the first frames after the line."""
    for place in range(1, len(frames)):
        before, after = frames[place - 1], frames[place]
        if after.lap == before.lap + 1 and after.session == before.session and 0 <= after.clock_s < before.clock_s:
            yield place
