"""Defines the routes of laps: list, samples, comparison of two laps, fuel."""

import io
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import pyarrow as pa
import pyarrow.csv as pa_csv
from fastapi import APIRouter, Query
from fastapi import Path as PathParameter
from fastapi.responses import JSONResponse, Response

from apex_pipeline.api.problems import Problem
from apex_pipeline.api.services import Services
from apex_pipeline.races.comparison import DEFAULT_POINTS, Comparison, compare_laps
from apex_pipeline.races.errors import RaceNotReadyError
from apex_pipeline.races.fuel import LapFuel, lap_fuel
from apex_pipeline.races.lap_data import lap_rows, lap_samples
from apex_pipeline.races.models import Lap

router = APIRouter(prefix="/race", tags=["laps"])

_PROBLEMS: dict[int | str, dict[str, Any]] = {code: {"model": Problem} for code in (400, 401, 403, 404, 409, 422, 503)}
_ARROW, _CSV = "application/vnd.apache.arrow.stream", "text/csv"
# Column `lap_number` is an INTEGER.
LapNumber = Annotated[int, PathParameter(ge=0, le=2**31 - 1, description="The game's number of the lap.")]


class LapFormat(StrEnum):
    """Format of a lap's samples."""

    JSON = "json"
    ARROW = "arrow"
    CSV = "csv"


@router.get("/{race_id}/laps", responses=_PROBLEMS)
def laps(
    race_id: UUID,
    services: Services,
    attempts: Annotated[bool, Query(description="Also runs that are not published as laps.")] = False,  # noqa: FBT002
) -> list[dict[str, Any]]:
    """Return the laps of a race, by number."""
    return lap_rows(services, str(race_id), attempts=attempts)


@router.get("/{race_id}/laps/{lap}", responses={200: {"content": {_ARROW: {}, _CSV: {}}}, **_PROBLEMS})
def lap_data(race_id: UUID, lap: LapNumber, services: Services, format: LapFormat = LapFormat.JSON) -> Response:  # noqa: A002  -- the name in the URL
    """Return the samples of one lap, at the recorded rate."""
    found, samples = lap_samples(services, str(race_id), lap)
    if format is LapFormat.ARROW:
        return Response(_arrow(samples), media_type=_ARROW)
    if format is LapFormat.CSV:
        out = io.BytesIO()
        pa_csv.write_csv(samples, out)
        return Response(out.getvalue(), media_type=_CSV)
    facts = {"race_id": found.race_id, "lap_uuid": found.lap_uuid, **_facts(found)}
    return JSONResponse({**facts, "samples": samples.to_pydict()})


@router.get("/{race_id}/compare/{a}/{b}", responses=_PROBLEMS)
def compare(
    race_id: UUID,
    a: LapNumber,
    b: LapNumber,
    services: Services,
    points: Annotated[int, Query(ge=2, le=20_000, description="Places on the lap.")] = DEFAULT_POINTS,
) -> dict[str, Any]:
    """Compare two laps: time that lap b is behind lap a, all along the lap."""
    (first, one), (second, two) = (lap_samples(services, str(race_id), lap) for lap in (a, b))
    times = (_lap_time(first), _lap_time(second))
    found: Comparison = compare_laps(one, two, times, points)
    return {
        "a": _facts(first),
        "b": _facts(second),
        "distance_m": found.distance_m,
        "delta_s": found.delta_s,
        "gains": found.gains,
        "losses": found.losses,
        "channels": {name: {"a": of_a, "b": of_b} for name, (of_a, of_b) in found.channels.items()},
    }


@router.get("/{race_id}/fuel/compare/{a}/{b}", responses=_PROBLEMS)
def fuel_comparison(race_id: UUID, a: LapNumber, b: LapNumber, services: Services) -> dict[str, Any]:
    """Compare the fuel of two laps; the difference is what lap b took more than lap a."""
    fuels = [lap_fuel(lap_samples(services, str(race_id), lap)[1]) for lap in (a, b)]
    used = [fuel.used_l for fuel in fuels]
    difference = None if used[0] is None or used[1] is None else used[1] - used[0]
    return {"a": {"lap_number": a, **vars(fuels[0])}, "b": {"lap_number": b, **vars(fuels[1])}, "used_l": difference}


@router.get("/{race_id}/fuel/{lap}", responses=_PROBLEMS)
def fuel(race_id: UUID, lap: LapNumber, services: Services) -> LapFuel:
    """Return how much fuel a lap took, and for how many laps the rest is enough."""
    return lap_fuel(lap_samples(services, str(race_id), lap)[1])


def _arrow(samples: pa.Table) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_stream(out, samples.schema) as writer:
        writer.write_table(samples)
    return out.getvalue()


def _facts(lap: Lap) -> dict[str, Any]:
    return {
        "lap_number": lap.lap_number,
        "kind": lap.kind,
        "is_valid": lap.is_valid,
        "lap_time_s": lap.lap_time_s,
    }


def _lap_time(lap: Lap) -> float:
    if lap.lap_time_s is None:
        raise RaceNotReadyError(
            f"The lap {lap.lap_number} was not driven from line to line, so it cannot be compared.",
            "Choose laps that have a lap_time_s.",
        )
    return lap.lap_time_s
