"""What the analytics front end shows of lap times, under its own names; only what was measured.

Its constants of car, tyre and track stand in no file, so they are left out. Times are seconds.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from apex_pipeline.catalog.session import RaceSession

# "Consistency" there is the share of laps that are no slower than the best by this much.
_CLOSE_S: Final = 0.5
_MILLISECONDS: Final = 3
# A third of fewer laps is no pace.
_LEAST_LAPS_OF_PACE: Final = 6

Facts = dict[str, Any]


def nothing(reason: str) -> Facts:
    """Return the answer where nothing can be said honestly; some panels look for ``error``, others for ``message``."""
    return {"message": reason, "error": reason}


def valid_laps(race: RaceSession, vehicle_id: str | None = None) -> pa.Table:
    """Return the valid laps with a time, of a car or of all, by car and number."""
    laps = race.catalog.table_arrow("laps", *race.key)
    laps = laps.filter(pc.and_(laps["is_valid"], pc.is_valid(laps["lap_time_s"])))
    return laps if vehicle_id is None else laps.filter(pc.equal(laps["vehicle_id"].cast(pa.string()), vehicle_id))


def performance(driver: str, times: Sequence[float]) -> Facts:
    """Return the lap times of a driver; the score is 100 minus the standard deviation in per cent of the mean."""
    if not times:
        return no_laps(driver)
    return {
        "driver_id": driver,
        **_spread(times),
        "consistency_score": round(100 - _variation_pct(times), _MILLISECONDS),
        "total_laps": len(times),
        "lap_times": list(times),
    }


def consistency(driver: str, times: Sequence[float]) -> Facts:
    """Return how even a driver's laps are; the score is the share within half a second of the best, in per cent."""
    if not times:
        return no_laps(driver)
    close = _close_laps(times)
    return {
        "driver_id": driver,
        "consistency_score": round(100 * close / len(times), _MILLISECONDS),
        "coefficient_of_variation": round(_variation_pct(times), _MILLISECONDS),
        **_spread(times),
        "laps_within_05s": close,
        "total_laps": len(times),
    }


def detailed(driver: str, times: Sequence[float], record_s: float, theoretical_s: float | None) -> Facts:
    """Return a driver's best, evenness and pace.

    Args:
        driver: The driver.
        times: His valid laps, in driven order.
        record_s: Best valid lap of the track in the lake.
        theoretical_s: His best sectors together, if known; slower than his best lap where that lacks sectors.
    """
    if not times:
        return no_laps(driver)
    spread = _spread(times)
    best: Facts = {
        "best_lap": spread["best_lap"],
        "average_lap": spread["average_lap"],
        "std_deviation": spread["std_deviation"],
        "delta_to_record": round(spread["best_lap"] - record_s, _MILLISECONDS),
        # Without sectors, a lap is the only part there is; the page makes `NaN` of a time that is left out.
        "theoretical_best": min(spread["best_lap"], spread["best_lap"] if theoretical_s is None else theoretical_s),
    }
    close = _close_laps(times)
    score = round(100 * close / len(times), _MILLISECONDS)
    return {
        "driver_id": driver,
        "performance": best,
        "consistency": {"score": score, "std_deviation": spread["std_deviation"], "laps_within_05s": close},
        "pace_analysis": _pace(times),
    }


def lap_deltas(driver: str, laps: pa.Table) -> Facts:
    """Return how much slower than his best each lap of a driver was; why is in no file."""
    times: list[float] = laps["lap_time_s"].to_pylist()
    if not times:
        return no_laps(driver)
    best = min(times)
    pairs = zip(laps["lap_number"].to_pylist(), times, strict=True)
    return {
        "message": "No file holds anything about tyres, so how fast they wear is not known: lap times also change "
        "with fuel, traffic and flags.",
        "driver_id": driver,
        "best_lap": best,
        "laps_analyzed": len(times),
        "lap_deltas": [{"lap": number, "delta": round(time_s - best, _MILLISECONDS)} for number, time_s in pairs],
    }


def sector_analysis(laps: pa.Table) -> Facts:
    """Return the sector times of each driver."""
    found: dict[str, Facts] = {}
    for vehicle in sorted(laps["vehicle_id"].cast(pa.string()).unique().to_pylist()):
        of_driver = laps.filter(pc.equal(laps["vehicle_id"].cast(pa.string()), vehicle))
        times = {name: of_driver[f"{name}_s"].drop_null().to_pylist() for name in ("s1", "s2", "s3")}
        every = [time_s for known in times.values() for time_s in known]
        if every:
            found[vehicle] = {
                "avg_sector_time": mean(every),
                "best_sector": min(every),
                "sectors": {name: _sector(known) for name, known in times.items() if known},
            }
    return {"sector_analysis": found} if found else nothing("No file of this session holds sector times.")


def no_laps(driver: str) -> Facts:
    """Return the answer about a driver without a valid lap."""
    return nothing(f"{driver} has no valid lap with a time in this session.")


def mean(times: Sequence[float]) -> float:
    """Return the mean of lap times, to the millisecond."""
    return _rounded(np.mean(times))


def _spread(times: Sequence[float]) -> Facts:
    return {
        "best_lap": min(times),
        "average_lap": mean(times),
        "std_deviation": _rounded(np.std(times)),
    }


def _sector(times: Sequence[float]) -> Facts:
    return {"best": min(times), "average": mean(times)}


def _variation_pct(times: Sequence[float]) -> float:
    return float(100 * np.std(times) / np.mean(times))


def _close_laps(times: Sequence[float]) -> int:
    # Times are whole milliseconds; their difference as a float is not.
    return sum(round(time_s - min(times), _MILLISECONDS) <= _CLOSE_S for time_s in times)


def _pace(times: Sequence[float]) -> Facts:
    """Return mean and best of the first, middle and last third of the laps."""
    if len(times) < _LEAST_LAPS_OF_PACE:
        return {"message": f"The pace of fewer than {_LEAST_LAPS_OF_PACE} laps says nothing."}
    thirds = [third.tolist() for third in np.array_split(np.asarray(times), 3)]
    stints = {
        name: {"avg_lap_time": _rounded(np.mean(third)), "best_lap": min(third)}
        for name, third in zip(("early_stint", "mid_stint", "late_stint"), thirds, strict=True)
    }
    later = stints["late_stint"]["avg_lap_time"] - stints["early_stint"]["avg_lap_time"]
    return {**stints, "degradation": {"early_to_late_delta": round(later, _MILLISECONDS)}}


def _rounded(value: "np.floating[Any]") -> float:
    return round(float(value), _MILLISECONDS)
