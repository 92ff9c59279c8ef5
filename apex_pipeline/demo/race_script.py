"""Drives a race of Automobilista 2 by a script whose laps are known: a frame per sample, and the truth about each lap.

See ``race_packets.py`` for the packets in which the game would send the frames.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

LENGTH_M = 1_500.0
DRIVER = 5  # place of the driver among the entries
CARS = 12
SECTOR_SHARES = (0.28, 0.33, 0.39)
TANK_L = 80

PRACTICE, QUALIFYING, RACE = 1, 3, 5
EXITED, FRONT_END, PLAYING, PAUSED, MENU, RESTARTING, REPLAY = 0, 1, 2, 3, 4, 5, 6
DRIVING_IN, IN_BOX, DRIVING_OUT, GARAGE, LEAVING_GARAGE = 1, 2, 3, 4, 5
NOT_STARTED, RACING, FINISHED = 1, 2, 3

# What the lap clock does after the chequered flag; the lap number goes on only with a new lap.
FINISHES = ("new lap", "stops", "goes on", "disappears")

_PAUSE_S = 2.0
_COOL_DOWN_S = 4.0
_GOLDEN_RATIO = 0.618034  # its multiples are spread evenly and in no visible order
_TINY_S = 1e-9  # below the rounding of times, so a frame due at the end of a scene belongs to the next one


@dataclass(frozen=True)
class Frame:
    """What the game knows at one moment.

    Attributes:
        time_s: Time since the game was started.
        session_time_s: Time since the session began, which the other cars' clocks follow.
        game_state: 2 playing, 3 paused …
        session: 1 practice, 5 race …
        track: Location and variation.
        lap: The game's lap number.
        clock_s: Lap clock; -1 while it does not run.
        sector: 0, 1 or 2.
        sector_clock_s: Time since the sector began.
        distance_m: True distance from the line.
        speed_mps: Speed.
        share: Share of the lap driven, from which all other signals follow.
        pit_mode: 0 on track, 1 driving in, 4 garage …
        race_state: 1 not started, 2 racing …
        is_invalid: The game has invalidated the lap.
        viewed: Place of the car the camera shows.
        last_lap_s: The game's time of the driver's last lap; -1 if there is none.
        last_sector_s: The same of his last sector.
    """

    time_s: float
    session_time_s: float
    game_state: int
    session: int
    track: tuple[str, str]
    lap: int
    clock_s: float
    sector: int = 0
    sector_clock_s: float = -1.0
    distance_m: float = 0.0
    speed_mps: float = 0.0
    share: float = 0.0
    pit_mode: int = 0
    race_state: int = RACING
    is_invalid: bool = False
    viewed: int = DRIVER
    last_lap_s: float = -1.0
    last_sector_s: float = -1.0


@dataclass
class LapTruth:
    """What a reader must find of one lap.

    Attributes:
        session: Which session of the recording, counted from 0.
        lap: The game's lap number.
        kind: flying, out, in, partial or abandoned.
        lap_time_s: Its time; ``None`` unless it goes from line to line.
        is_valid: It is a flying lap that was not invalidated.
        frames: Its frames, in order.
    """

    session: int
    lap: int
    kind: str
    lap_time_s: float | None = None
    is_valid: bool = False
    frames: list[Frame] = field(default_factory=list[Frame])


@dataclass(frozen=True)
class LapOptions:
    """What happens in a lap.

    Attributes:
        from_s: Where the recording joins it.
        until_s: Where it is given up; ``None`` to drive to the line, after which the lap number is one more.
        kind: What it is, for the truth.
        is_invalid: The game invalidates it after half its time.
        pits_from_s: When the driver turns into the pits.
        away_s: From when to when the camera shows another car.
        pause_at_s: When the driver pauses the game.
    """

    from_s: float = 0.0
    until_s: float | None = None
    kind: str = "flying"
    is_invalid: bool = False
    pits_from_s: float | None = None
    away_s: tuple[float, float] | None = None
    pause_at_s: float | None = None


FLYING = LapOptions()


class Script:
    """Drives scene after scene.

    Args:
        rate_hz: Frames per second.
        unevenness: By how much of an interval a frame may come late, as with a recorder that keeps no even rate.

    Attributes:
        frames: All frames so far.
        laps: The truth about the laps so far.
    """

    def __init__(self, rate_hz: float = 20.0, unevenness: float = 0.0) -> None:
        self.rate_hz = rate_hz
        self.unevenness = unevenness
        self.frames: list[Frame] = []
        self.laps: list[LapTruth] = []
        self._time_s = 0.0
        self._session_began_s = 0.0
        self._session_index = -1
        self._scene = Frame(0.0, 0.0, PLAYING, PRACTICE, ("Interlagos", "GP"), 1, -1.0)

    def begin_session(self, session: int, track: tuple[str, str] = ("Interlagos", "GP")) -> None:
        """Begin a session: the lap counter starts again at 1."""
        self._session_index += 1
        self._session_began_s = self._time_s
        self._scene = replace(
            self._scene, session=session, track=track, lap=1, game_state=PLAYING, last_lap_s=-1.0, last_sector_s=-1.0
        )

    def stand(self, seconds: float, *, pit_mode: int = GARAGE, game_state: int = PLAYING) -> None:
        """Stand without a lap clock: in the garage, on the grid (``pit_mode`` 0) or in a menu."""
        state = RACING if pit_mode else NOT_STARTED
        still = replace(self._scene, clock_s=-1.0, pit_mode=pit_mode, game_state=game_state, race_state=state)
        for time_s in self._grid(seconds):
            self._add(still, time_s)
        self._time_s += seconds

    def replay(self, seconds: float) -> None:
        """Watch a replay of lap 1, in which the clock seems to run."""
        for time_s in self._grid(seconds):
            clock_s = 10.0 + time_s - self._time_s
            frame = replace(self._moving(clock_s / 30, 30.0), lap=1, clock_s=clock_s, game_state=REPLAY)
            self._add(frame, time_s)
        self._time_s += seconds

    def out_lap(self, seconds: float, *, counts_distance: bool = True) -> None:
        """Leave the garage and drive to the line without a lap clock."""
        truth = self._truth("out")
        for time_s in self._grid(seconds):
            share = (time_s - self._time_s) / seconds
            pit_mode = (LEAVING_GARAGE, DRIVING_OUT, 0, 0, 0, 0)[int(share * 6)]
            frame = replace(self._moving(share, seconds), clock_s=-1.0, sector=2, sector_clock_s=-1.0)
            distance = frame.distance_m if counts_distance else 0.0
            truth.frames.append(self._add(replace(frame, distance_m=distance, pit_mode=pit_mode), time_s))
        self._time_s += seconds

    def lap(self, seconds: float, options: LapOptions = FLYING) -> None:
        """Drive a lap of so many seconds from line to line, or the part of it that the options say."""
        until_s = seconds if options.until_s is None else options.until_s
        is_whole = options.from_s == 0 and options.until_s is None
        truth = self._truth(options.kind)
        truth.lap_time_s = seconds if is_whole else None
        truth.is_valid = is_whole and options.kind == "flying" and not options.is_invalid
        began_s = self._time_s - options.from_s
        pause_at_s = options.pause_at_s
        while self._next_s < began_s + until_s - _TINY_S:
            clock_s = self._next_s - began_s
            frame = self._lap_frame(clock_s, seconds, options)
            truth.frames.append(self._add(frame, self._next_s))
            if pause_at_s is not None and clock_s >= pause_at_s:
                began_s += self._pause(frame)
                pause_at_s = None
        self._time_s = began_s + until_s
        if options.until_s is None:
            self._scene = replace(
                self._scene,
                lap=(self._scene.lap + 1) % 256,
                last_lap_s=seconds if is_whole else -1,
                last_sector_s=SECTOR_SHARES[-1] * seconds,
            )

    def finish(self, seconds: float, how: str) -> None:
        """Drive the last lap of a race and a little further, with the clock as in ``FINISHES``."""
        self.lap(seconds)
        lap = self.laps[-1].lap
        for time_s in self._grid(_COOL_DOWN_S):
            since_s = time_s - self._time_s
            clocks = {"new lap": since_s, "stops": seconds, "goes on": seconds + since_s, "disappears": -1.0}
            frame = replace(
                self._moving(since_s / seconds, seconds),
                race_state=FINISHED,
                clock_s=clocks[how],
                lap=lap + 1 if how == "new lap" else lap,
            )
            self._add(frame, time_s)
        self._time_s += _COOL_DOWN_S

    def _lap_frame(self, clock_s: float, seconds: float, options: LapOptions) -> Frame:
        away, pits = options.away_s, options.pits_from_s
        return replace(
            self._moving(clock_s / seconds, seconds),
            clock_s=clock_s,
            is_invalid=options.is_invalid and clock_s > seconds / 2,
            pit_mode=DRIVING_IN if pits is not None and clock_s >= pits else 0,
            viewed=0 if away and away[0] <= clock_s < away[1] else DRIVER,
        )

    def _moving(self, share: float, seconds: float) -> Frame:
        """Return the frame at a share of the lap, at constant speed."""
        first, second, _ = SECTOR_SHARES
        sector = (share >= first) + (share >= first + second)
        return replace(
            self._scene,
            sector=sector,
            sector_clock_s=(share - sum(SECTOR_SHARES[:sector])) * seconds,
            last_sector_s=SECTOR_SHARES[sector - 1] * seconds if sector else self._scene.last_sector_s,
            distance_m=share * LENGTH_M,
            speed_mps=LENGTH_M / seconds,
            share=share,
        )

    def _pause(self, frame: Frame) -> float:
        """Show the paused game for two seconds and return them."""
        stop_s = self._next_s + _PAUSE_S
        while self._next_s < stop_s - _TINY_S:
            self._add(replace(frame, game_state=PAUSED), self._next_s)
        return _PAUSE_S

    def _truth(self, kind: str) -> LapTruth:
        truth = LapTruth(self._session_index, self._scene.lap, kind)
        self.laps.append(truth)
        return truth

    @property
    def _next_s(self) -> float:
        """When the next frame is due."""
        late = len(self.frames) * _GOLDEN_RATIO % 1 * self.unevenness
        return (len(self.frames) + late) / self.rate_hz

    def _grid(self, seconds: float) -> Iterator[float]:
        """Yield the times of the frames in the next scene."""
        while self._next_s < self._time_s + seconds - _TINY_S:
            yield self._next_s

    def _add(self, frame: Frame, time_s: float) -> Frame:
        added = replace(frame, time_s=time_s, session_time_s=max(0.0, time_s - self._session_began_s))
        self.frames.append(added)
        return added


def planted_race(rate_hz: float = 20.0) -> Script:
    """Return a recording of practice and race with everything that has misled readers.

    It joins a lap under way, and has an in-lap into the garage, an out-lap with clock -1, an invalid lap, a reset to
    the pits, a restart, a pause, the camera on another car, a replay and the front end.
    """
    script = Script(rate_hz)
    script.begin_session(PRACTICE)
    script.lap(30.013, LapOptions(from_s=11.3, kind="partial"))
    script.lap(31.207, LapOptions(pits_from_s=27.0, until_s=30.5, kind="in"))
    script.stand(2.0)
    script.out_lap(12.0)
    script.lap(29.871)
    script.lap(30.444, LapOptions(is_invalid=True))
    script.lap(30.0, LapOptions(until_s=9.0, kind="abandoned"))
    script.stand(1.0)
    script.out_lap(10.0, counts_distance=False)
    script.lap(29.502)
    script.lap(30.0, LapOptions(until_s=5.0, kind="abandoned"))
    script.stand(2.0, game_state=FRONT_END)
    _race(script)
    return script


def _race(script: Script) -> None:
    script.begin_session(RACE)
    script.stand(1.5, pit_mode=0)
    script.lap(32.106)
    script.lap(30.0, LapOptions(until_s=8.0, kind="abandoned"))
    script.begin_session(RACE)
    script.stand(0.5, pit_mode=0, game_state=RESTARTING)
    script.stand(1.5, pit_mode=0)
    script.lap(32.333, LapOptions(pause_at_s=14.0))
    script.lap(30.707, LapOptions(away_s=(10.0, 15.0)))
    script.lap(31.919, LapOptions(pits_from_s=28.0, kind="in"))
    script.lap(30.0, LapOptions(until_s=4.0, kind="abandoned"))
    script.replay(3.0)
    script.stand(2.0, game_state=FRONT_END)
