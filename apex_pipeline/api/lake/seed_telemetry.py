"""What the analytics front end shows of telemetry, under its own names; only what was measured.

Speeds are km/h, pressures bar, accelerations g. Only samples within laps count: not the grid, the pits, the way home.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from apex_pipeline.api.lake.seed_laps import Facts, nothing

Floats = npt.NDArray[np.float64]

# The bounds that the page prints beside its bars.
_HIGH_KPH, _LOW_KPH = 150, 100
# The pressure sensors show up to 1 bar with the foot off the pedal.
_BRAKING_BAR: Final = 2.0
_RELEASED_BAR: Final = 1.0
# Beyond what bumps of a straight do.
_CORNERING_G: Final = 0.3
_SPEED, _FRONT, _REAR, _LONG, _LAT = "speed_kph", "brake_front_bar", "brake_rear_bar", "accel_long_g", "accel_lat_g"


def speed_analysis(driver: str, samples: dict[str, Floats]) -> Facts:
    """Return top, lowest and mean speed of a driver, and how much of the time he was how fast."""
    speed = _known(samples[_SPEED])
    if not speed.size:
        return no_channel(driver, "speed")
    is_high, is_low = speed > _HIGH_KPH, speed < _LOW_KPH
    return {
        "driver_id": driver,
        "speed_metrics": {
            "vmax_kmh": _rounded(speed.max()),
            "vmin_kmh": _rounded(speed.min()),
            "vavg_kmh": _rounded(speed.mean()),
            "speed_range_kmh": _rounded(speed.max() - speed.min()),
        },
        "speed_distribution": {
            "high_speed_pct": _rounded(100 * is_high.mean()),
            "mid_speed_pct": _rounded(100 * (~is_high & ~is_low).mean()),
            "low_speed_pct": _rounded(100 * is_low.mean()),
        },
    }


def braking_analysis(driver: str, samples: dict[str, Floats]) -> Facts:
    """Return how a driver brakes: pressures and accelerations while the front pressure is above 2 bar.

    Without rear pressure there is a message beside the figures: the page makes `NaN` of a bias that is left out.
    """
    front, rear = samples[_FRONT], samples[_REAR]
    is_braking = front > _BRAKING_BAR
    if not is_braking.any():
        return no_channel(driver, "brake pressure")
    of_rear = _known(rear[is_braking])
    metrics: Facts = {
        "brake_applications": brake_applications(front),
        "max_front_pressure_bar": _rounded(front[is_braking].max()),
        "avg_front_pressure_bar": _rounded(front[is_braking].mean()),
        "consistency_bar": _rounded(front[is_braking].std()),
    }
    if of_rear.size:
        both = is_braking & np.isfinite(rear)
        share = front[both].sum() / (front[both].sum() + rear[both].sum())
        metrics["max_rear_pressure_bar"] = _rounded(of_rear.max())
        metrics["avg_rear_pressure_bar"] = _rounded(of_rear.mean())
        metrics["brake_bias_front_pct"] = _rounded(100 * share)
    found: Facts = {"driver_id": driver, "braking_metrics": metrics, "g_forces": _braking_g(samples[_LONG][is_braking])}
    if not of_rear.size:
        found["message"] = f"{driver} sent no rear brake pressure in this session, so the bias is not known."
    sideways = _known(samples[_LAT][is_braking])
    if sideways.size:
        trailing = float((np.abs(sideways) > _CORNERING_G).mean())
        found["technique"] = {"trail_braking_pct": _rounded(100 * trailing)}
    return found


def lap_summary(driver: str, lap_number: int, samples: pa.Table) -> Facts:
    """Return speed and throttle of one lap of a driver."""
    speed, throttle = (_known(samples[name].cast(pa.float64()).to_numpy()) for name in (_SPEED, "throttle_blade_pct"))
    if not speed.size:
        return no_channel(driver, "speed")
    found: Facts = {
        "lap_number": lap_number,
        "driver_id": driver,
        "speed": {"max": _rounded(speed.max()), "avg": _rounded(speed.mean()), "min": _rounded(speed.min())},
        "data_points": samples.num_rows,
    }
    if throttle.size:
        found["throttle_avg"] = _rounded(throttle.mean())
    return found


def brake_applications(front: Floats) -> int:
    """Return how often the brake was pressed: a rise above 2 bar after the pressure was below 1 bar."""
    known = _known(front)
    states = np.where(known > _BRAKING_BAR, 1, np.where(known < _RELEASED_BAR, -1, 0))
    states = states[states != 0]
    return int(((states[1:] == 1) & (states[:-1] == -1)).sum() + (states[:1] == 1).sum())


def no_channel(driver: str, what: str) -> Facts:
    """Return the answer about a driver whose car sent no readings of a channel."""
    return nothing(f"{driver} sent no {what} in this session.")


def _braking_g(accelerations: Floats) -> Facts:
    known = -_known(accelerations)
    if not known.size:
        return {}
    return {"max_braking_g": _rounded(known.max()), "avg_braking_g": _rounded(known.mean())}


def _known(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def _rounded(value: Any) -> float:  # noqa: ANN401  -- a number of NumPy
    return round(float(value), 2)
