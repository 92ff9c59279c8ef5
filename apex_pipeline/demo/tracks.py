"""The two invented tracks: location, race times, file names; see signals.py for the track as a curve.

The naming schemes are those of real tracks: Harbor has one flat folder and unquoted files like Barber, Mesa Verde has
nested folders and quoted files like COTA.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

FileName = Literal[
    "lap_start",
    "lap_end",
    "lap_time",
    "telemetry",
    "provisional_results",
    "official_results",
    "provisional_by_class",
    "official_by_class",
    "sections",
    "weather",
    "best_laps",
    "junk",
]
_START_OF_RACE = {1: time(13, 40), 2: time(10, 5)}  # local time of the green flag


@dataclass(frozen=True)
class DemoTrack:
    """An invented track.

    Attributes:
        index: 0 or 1; part of the random seed, so that the tracks differ.
        slug: The slug expected for ``folder``.
        name: Display name.
        folder: Folder of the track's files.
        zone: Time zone.
        sunday: Midnight at the start of race 2's day, naive local time.
        event_code: Column ``meta_event``.
        lap_ms: Lap time of the fastest car.
        length_m: Lap length.
        latitude_deg: Centre of the track.
        longitude_deg: Centre of the track.
        lobes: Waves added to a circle to get the outline: number of waves, and depth as a share of the radius.
        is_quoted: Whether lap files are quoted, end lines with LF, lack a final newline and have a ``value`` column.
        eol: Line ending of telemetry.
        first_unit_lap: Lap count of the cars' devices in official lap 1.
        fast_channels: Telemetry channels in every frame, in file order.
        slow_channels: Telemetry channels in every fifth frame at the full rate, in file order after the fast ones.
        files: Path of each file, relative to the weekend's folder, with ``{race}`` for the race number.
        track_temperature_c: Reading of the sensor; 0 where there is no sensor.
    """

    index: int
    slug: str
    name: str
    folder: str
    zone: str
    sunday: datetime
    event_code: str
    lap_ms: int
    length_m: float
    latitude_deg: float
    longitude_deg: float
    lobes: tuple[tuple[int, float], ...]
    is_quoted: bool
    eol: str
    first_unit_lap: int
    fast_channels: tuple[str, ...]
    slow_channels: tuple[str, ...]
    files: dict[FileName, str]
    track_temperature_c: float

    def path(self, file: FileName, race: int) -> str:
        """Return the path of a file, relative to the weekend's folder."""
        return self.files[file].format(race=race)

    def green_ms(self, race: int) -> int:
        """Return the time of the green flag in milliseconds since 1970 UTC."""
        day = self.sunday - timedelta(days=2 - race)
        start = datetime.combine(day, _START_OF_RACE[race], tzinfo=ZoneInfo(self.zone))
        return int(start.timestamp()) * 1000

    def local_time(self, utc_ms: int) -> datetime:
        """Return a time in the track's time zone."""
        instant = datetime.fromtimestamp(utc_ms // 1000, UTC) + timedelta(milliseconds=utc_ms % 1000)
        return instant.astimezone(ZoneInfo(self.zone))


_HARBOR = "harbor_street_circuit"
HARBOR = DemoTrack(
    index=0,
    slug=_HARBOR,
    name="Harbor Street Circuit",
    folder=_HARBOR,
    zone="America/Chicago",
    sunday=datetime(2025, 6, 15),  # noqa: DTZ001 - local day; the zone is the field above
    event_code="I_R08_2025-06-15",
    lap_ms=97_000,
    length_m=3_650.0,
    latitude_deg=41.8712,
    longitude_deg=-87.6134,
    lobes=((2, 0.25), (3, 0.15), (5, 0.10), (7, 0.07)),
    is_quoted=False,
    eol="\r\n",
    first_unit_lap=3,
    fast_channels=(
        "accx_can",
        "accy_can",
        "aps",
        "pbrake_r",
        "pbrake_f",
        "gear",
        "VBOX_Long_Minutes",
        "VBOX_Lat_Min",
        "Steering_Angle",
    ),
    slow_channels=("Laptrigger_lapdist_dls", "nmot", "speed"),
    files={
        "lap_start": f"{_HARBOR}/R{{race}}_harbor_lap_start.csv",
        "lap_end": f"{_HARBOR}/R{{race}}_harbor_lap_end.csv",
        "lap_time": f"{_HARBOR}/R{{race}}_harbor_lap_time.csv",
        "telemetry": f"{_HARBOR}/R{{race}}_harbor_telemetry_data.csv",
        "provisional_results": f"{_HARBOR}/03_Provisional Results_Race {{race}}_Anonymized.CSV",
        "official_results": f"{_HARBOR}/03_Results GR Cup Race {{race}} Official_Anonymized.CSV",
        "provisional_by_class": f"{_HARBOR}/05_Provisional Results by Class_Race {{race}}_Anonymized.CSV",
        "official_by_class": f"{_HARBOR}/05_Results by Class GR Cup Race {{race}} Official_Anonymized.CSV",
        "sections": f"{_HARBOR}/23_AnalysisEnduranceWithSections_Race {{race}}_Anonymized.CSV",
        "weather": f"{_HARBOR}/26_Weather_Race {{race}}_Anonymized.CSV",
        "best_laps": f"{_HARBOR}/99_Best 10 Laps By Driver_Race {{race}}_Anonymized.CSV",
        "junk": f"{_HARBOR}/.DS_Store",
    },
    track_temperature_c=0.0,
)

_MESA = "Mesa Verde Raceway/Race {race}"
MESA = DemoTrack(
    index=1,
    slug="mesa_verde_raceway",
    name="Mesa Verde Raceway",
    folder="Mesa Verde Raceway",
    zone="America/Denver",
    sunday=datetime(2025, 7, 13),  # noqa: DTZ001 - local day; the zone is the field above
    event_code="I_R09_2025-07-13",
    lap_ms=104_000,
    length_m=4_120.0,
    latitude_deg=37.2309,
    longitude_deg=-108.4618,
    lobes=((2, 0.30), (3, 0.10), (4, 0.10), (7, 0.06)),
    is_quoted=True,
    eol="\n",
    first_unit_lap=2,
    fast_channels=("Steering_Angle", "gear", "pbrake_f", "pbrake_r", "ath", "accy_can", "accx_can"),
    slow_channels=("speed", "nmot"),
    files={
        "lap_start": f"{_MESA}/mesa_lap_start_time_R{{race}}.csv",
        "lap_end": f"{_MESA}/mesa_lap_end_time_R{{race}}.csv",
        "lap_time": f"{_MESA}/mesa_lap_time_R{{race}}.csv",
        "telemetry": f"{_MESA}/R{{race}}_mesa_telemetry_data.csv",
        # The space after the underscore is real: all five files of COTA race 2 have it.
        "provisional_results": f"{_MESA}/03_Provisional Results_ Race {{race}}_Anonymized.CSV",
        "official_results": f"{_MESA}/00_Results GR Cup Race {{race}} Official_Anonymized.CSV",
        "provisional_by_class": f"{_MESA}/05_Provisional Results by Class_ Race {{race}}_Anonymized.CSV",
        "official_by_class": f"{_MESA}/05_Results by Class GR Cup Race {{race}} Official_Anonymized.CSV",
        "sections": f"{_MESA}/23_AnalysisEnduranceWithSections_ Race {{race}}_Anonymized.CSV",
        "weather": f"{_MESA}/26_Weather_ Race {{race}}_Anonymized.CSV",
        "best_laps": f"{_MESA}/99_Best 10 Laps By Driver_ Race {{race}}_Anonymized.CSV",
        "junk": "Mesa Verde Raceway/Mesa Verde Track Map.pdf",
    },
    track_temperature_c=46.5,
)

TRACKS = (HARBOR, MESA)
