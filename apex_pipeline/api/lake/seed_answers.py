"""Makes the answers of the analytics front end from a session and a driver; see ``seed_laps.py`` for the figures.

When the track is changed there, its panels first ask the new track about the session and the driver of the old one,
and a status of 404 is an error on its console. So what a track does not have is told by a message.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from apex_pipeline.api.lake import seed_laps, seed_telemetry
from apex_pipeline.api.lake.asking import Ask, checked_name
from apex_pipeline.api.lake.cars import UnknownCarError, find_session_car
from apex_pipeline.api.lake.errors import RequestError, UnpublishedError, names_of_the_path
from apex_pipeline.api.lake.kept import Answer
from apex_pipeline.api.lake.seed_laps import Facts, nothing, valid_laps
from apex_pipeline.catalog.session import RaceSession
from apex_pipeline.errors import ConfigurationError, NotPublishedError
from apex_pipeline.tables import TELEMETRY

# Makes an answer from the session.
OfSession = Callable[[RaceSession], object]
# Makes an answer from the session and the driver's vehicle_id.
OfDriver = Callable[[RaceSession, str], Facts]

_LAP_NUMBER: Final = re.compile(r"-?[0-9]{1,9}")
_BRAKE_CHANNELS: Final = ("brake_front_bar", "brake_rear_bar", "accel_long_g", "accel_lat_g")


def session_answer(ask: Ask, names: tuple[str, str], make: OfSession, otherwise: Callable[[str], object]) -> Answer:
    """Return an answer about a session.

    Args:
        ask: The request.
        names: Track and session, as in the path.
        make: Makes the answer.
        otherwise: Makes the answer from the reason why the track has no such session.

    Raises:
        NotFoundError: There is no such track.
    """
    try:
        key = ask.session(*names)
    except UnpublishedError as error:
        return ask.document(otherwise(error.problem), None)
    return ask.document(make(RaceSession(ask.catalog, key)), ask.source_of(key))


def driver_answer(ask: Ask, names: tuple[str, str, str], make: OfDriver, *, is_of_session: bool) -> Answer:
    """Return an answer about one driver; a message if the track has no such session, or the session no such driver.

    Args:
        ask: The request.
        names: Track, session and driver, as in the path.
        make: Makes the answer.
        is_of_session: It depends on nothing but the session.

    Raises:
        NotFoundError: There is no such track.
        RequestError: Several cars of the session may be meant.
    """
    track, session, driver = names
    try:
        key = ask.session(track, session)
        vehicle_id = find_session_car(ask.catalog, key, driver).vehicle_id
    except (UnpublishedError, UnknownCarError) as error:
        return ask.document(nothing(error.problem), None)
    if vehicle_id is None:
        return ask.document(nothing(f"The car {driver} has no unit that recorded anything."), None)
    facts = make(RaceSession(ask.catalog, key), vehicle_id)
    return ask.document(facts, ask.source_of(key) if is_of_session else None)


def track_names(ask: Ask) -> list[str]:
    """Return the slugs of the tracks with published sessions."""
    return sorted({key.track for key in ask.catalog.snapshot.keys})


def session_names(ask: Ask, track: str) -> list[str]:
    """Return the names of the sessions of a track."""
    with names_of_the_path():
        return [key.session for key in ask.catalog.find_sessions(checked_name(track))]


def best_lap(race: RaceSession) -> Facts:
    """Return the best valid lap of a session."""
    try:
        best = race.best_lap()
    except NotPublishedError:
        return nothing(f"{race.key} has no valid lap with a time.")
    return {
        "best_lap_time": best.time_s,
        "driver_id": best.vehicle_id,
        "lap_number": best.number,
        "track": race.track,
        "session": race.name,
    }


def drivers(race: RaceSession) -> list[str]:
    """Return the vehicle_id of each car with laps."""
    laps = race.catalog.table_arrow("laps", *race.key)
    return sorted(laps["vehicle_id"].cast(pa.string()).unique().to_pylist())


def performance(race: RaceSession, driver: str) -> Facts:
    """Return the lap times of a driver."""
    return seed_laps.performance(driver, _times(race, driver))


def consistency(race: RaceSession, driver: str) -> Facts:
    """Return how even a driver's laps are."""
    return seed_laps.consistency(driver, _times(race, driver))


def detailed(race: RaceSession, driver: str) -> Facts:
    """Return a driver's best, evenness and pace, beside the best lap of the track in the lake; car and track."""
    times = _times(race, driver)
    if not times:
        return seed_laps.no_laps(driver)
    facts = seed_laps.detailed(driver, times, _track_record(race), _theoretical_best(race, driver))
    return {"track": _track_name(race), "session": race.name, **facts, **_car_and_track(race, driver)}


def lap_deltas(race: RaceSession, driver: str) -> Facts:
    """Return how much slower than his best each lap of a driver was."""
    return seed_laps.lap_deltas(driver, valid_laps(race, driver))


def no_limits(_race: RaceSession, driver: str) -> Facts:
    """Say why no lap is compared with what the car could do."""
    return nothing(f"What {driver} could reach in a corner depends on grip and radius, which no file holds.")


def pit_strategy(race: RaceSession, driver: str) -> Facts:
    """Say why no stop is advised, with the mean of the driver's laps."""
    times = _times(race, driver)
    reason = "No file holds tyre wear, fuel use or the time that a stop costs, so no stop can be advised."
    return {**nothing(reason), **({"avg_lap_time": seed_laps.mean(times)} if times else {})}


def speed(race: RaceSession, driver: str) -> Facts:
    """Return the speeds of a driver."""
    samples = _samples(race, driver, ("speed_kph",))
    return seed_telemetry.speed_analysis(driver, samples) if samples else _no_telemetry(race, driver)


def braking(race: RaceSession, driver: str) -> Facts:
    """Return how a driver brakes."""
    samples = _samples(race, driver, _BRAKE_CHANNELS)
    return seed_telemetry.braking_analysis(driver, samples) if samples else _no_telemetry(race, driver)


def short_speed(race: RaceSession, driver: str) -> Facts:
    """Return top, lowest and mean speed of a driver."""
    found = speed(race, driver)
    if "speed_metrics" not in found:
        return found
    names = {"vmax": "vmax_kmh", "vmin": "vmin_kmh", "vavg": "vavg_kmh", "speed_range": "speed_range_kmh"}
    return {"driver_id": driver, **{short: found["speed_metrics"][name] for short, name in names.items()}}


def short_braking(race: RaceSession, driver: str) -> Facts:
    """Return brake pressures of a driver."""
    found = braking(race, driver)
    if "braking_metrics" not in found:
        return found
    metrics = found["braking_metrics"]
    return {
        "driver_id": driver,
        "brake_applications": metrics["brake_applications"],
        "avg_brake_pressure": metrics["avg_front_pressure_bar"],
        "max_brake_pressure": metrics["max_front_pressure_bar"],
    }


def lap(number: str, race: RaceSession, driver: str) -> Facts:
    """Return speed and throttle of one lap of a driver."""
    if not _LAP_NUMBER.fullmatch(number):
        raise RequestError("A lap is named by its number.", "Give a whole number, as /drivers and /performance use it.")
    with names_of_the_path():
        found = race.lap(car=driver, number=int(number))
    note = found.telemetry_note
    if note:
        return nothing(note)
    return seed_telemetry.lap_summary(driver, found.number, found.telemetry_arrow())


def _times(race: RaceSession, driver: str) -> list[float]:
    return valid_laps(race, driver)["lap_time_s"].to_pylist()


def _track_record(race: RaceSession) -> float:
    """Return the best valid lap of the track in the lake, which has at least one."""
    keys = [key for key in race.catalog.snapshot.keys if key.track == race.track]
    best = [pc.min(valid_laps(RaceSession(race.catalog, key))["lap_time_s"]).as_py() for key in keys]
    return min(time_s for time_s in best if time_s is not None)


def _theoretical_best(race: RaceSession, driver: str) -> float | None:
    rows = race.sectors(frame="arrow")
    of_driver = rows.filter(pc.equal(rows["vehicle_id"].cast(pa.string()), driver))
    return of_driver["theoretical_best_s"][0].as_py() if of_driver.num_rows else None


def _track_name(race: RaceSession) -> str:
    rows = race.catalog.list_arrow("tracks")
    names = dict(zip(rows["track"].to_pylist(), rows["track_name"].to_pylist(), strict=True))
    return names.get(race.track) or race.track


def _car_and_track(race: RaceSession, driver: str) -> Facts:
    """Return make and model of a car as the classification prints them, and the length of the track, if known."""
    found: Facts = {}
    car = find_session_car(race.catalog, race.key, driver)
    results = race.results(frame="arrow")
    printed = pa.scalar(car.official_number or car.number, pa.string())
    models = results.filter(pc.equal(results["car_number"].cast(pa.string()), printed))["vehicle"].drop_null().unique()
    if len(models) == 1:
        found["vehicle"] = models[0].as_py()
    # That a file of the user's cannot be read is told where distances are asked for.
    with suppress(NotPublishedError, ConfigurationError):
        length_m = race.catalog.lap_distances.geometry.length(race.key).length_m
        found["track_info"] = {"length_km": round(length_m / 1000, 3)}
    return found


def _samples(race: RaceSession, driver: str, channels: tuple[str, ...]) -> dict[str, seed_telemetry.Floats]:
    """Return channels of a driver's samples within laps; nothing if the session has no telemetry."""
    if not race.catalog.has_table(TELEMETRY.name, *race.key):
        return {}
    rows = race.catalog.telemetry_arrow(*race.key, vehicle_id=driver, channels=channels)
    rows = rows.filter(pc.is_valid(rows["lap_number"]))
    return {name: rows[name].cast(pa.float64()).to_numpy() for name in channels} if rows.num_rows else {}


def _no_telemetry(race: RaceSession, driver: str) -> Facts:
    return nothing(f"{driver} sent no telemetry during laps of {race.key}.")
