"""Implements ``apex compare``: where one lap loses time to another; see docs/distance.md for how sure that is."""

from typing import Annotated

import numpy as np
import pyarrow as pa
import typer

from apex_pipeline.catalog.lap import Lap
from apex_pipeline.catalog.lap_distance import LapComparison
from apex_pipeline.catalog.reader import Catalog, open_catalog
from apex_pipeline.catalog.simulated_lap import SimulatedLap, is_race_id
from apex_pipeline.cli.listing import Listing, lists
from apex_pipeline.cli.options import AsOf, Lake
from apex_pipeline.errors import ConfigurationError

# Forty rows of a lap: a screen. Programs ask for 2 m.
_SCREEN_STEP_M = 100.0
_CHANNELS = ("speed_kph",)
# What names a lap of a simulator begins with it.
_RACE = "race"
_PARTS = ("track", "session", "car", "lap")
# Decimals of what is listed: a delta is good to hundredths, a position to metres.
_DECIMALS = {"distance_m": 1, "delta_s": 3, "error_s": 3}

FirstLap = Annotated[
    str, typer.Argument(metavar="A", help="The lap to compare with: TRACK/SESSION/CAR/LAP, or without LAP the best.")
]
SecondLap = Annotated[
    str,
    typer.Argument(
        metavar="B", help="The lap that is compared, named in the same way; or one of a simulator: race/RACE_ID/LAP."
    ),
]


@lists
def compare_command(
    first: FirstLap,
    second: SecondLap,
    step: Annotated[float, typer.Option(help="Metres between two rows, 0.1 to 1,000.")] = _SCREEN_STEP_M,
    channel: Annotated[list[str] | None, typer.Option(help="Also this channel of both laps; may be repeated.")] = None,
    lake: Lake = None,
    as_of: AsOf = None,
) -> Listing:
    """Compare two laps of a track: how far the second is behind the first, all along the lap."""
    catalog = open_catalog(lake, as_of=as_of)
    a, b = _find_lap(catalog, first), _find_simulated(catalog, second) or _find_lap(catalog, second)
    theirs = b.samples if isinstance(b, SimulatedLap) else b.samples()
    shared = [name for name in _CHANNELS if all(name in lap.channels for lap in (a.samples(), theirs))]
    both = a.compare(b, step_m=step, channels=channel or shared)
    rows = both.frame(channel or shared, frame="arrow")
    columns = ("distance_m", "delta_s", "error_s", *rows.schema.names[1:-2])
    title = f"{both.b} behind {both.a}"
    return Listing(_rounded(rows.select(columns)), title, columns, notes=_notes(both))


def _find_simulated(catalog: Catalog, text: str) -> SimulatedLap | None:
    """Return the lap of a race that a text like ``race/ID/3`` names; ``None`` if it names none of a race."""
    kind, _, rest = text.partition("/")
    race_id, _, lap = rest.partition("/")
    if kind != _RACE or not is_race_id(race_id):
        return None
    return catalog.simulated_lap(race_id, None if lap in {"", "best"} else _number(lap))


def _find_lap(catalog: Catalog, text: str) -> Lap:
    """Return the lap that a text names.

    Raises:
        ConfigurationError: The text has too few or too many parts, or names no lap.
        ObjectMissingError: There is no such session, or no valid lap.
    """
    parts = text.split("/")
    if len(parts) > 1 and parts[0] == _RACE and is_race_id(parts[1]):
        raise ConfigurationError(f"{text!r} is a lap of a simulator.", "Name it second: a real lap gives the distance.")
    if not len(_PARTS) - 1 <= len(parts) <= len(_PARTS) or not all(parts):
        raise ConfigurationError(
            f"{text!r} does not name a lap.", "Write TRACK/SESSION/CAR/LAP, for example harbor/r1/13/5."
        )
    race = catalog.session(parts[0], parts[1])
    if len(parts) < len(_PARTS) or parts[3] == "best":
        return race.best_lap(car=parts[2])
    return race.lap(car=parts[2], number=_number(parts[3]))


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{text!r} is not the number of a lap.", "Write lap_number as `apex laps` lists it, or best."
        ) from error


def _rounded(rows: pa.Table) -> pa.Table:
    values = {
        name: np.round(column.to_numpy(), _DECIMALS.get(name, 2))
        for name, column in zip(rows.schema.names, rows.columns, strict=True)
    }
    return pa.table({name: pa.array(column, from_pandas=True) for name, column in values.items()})


def _notes(both: LapComparison) -> tuple[str, ...]:
    """Return what to know: how the distance was found, how well it agrees with official timing, and holes."""
    notes = [f"Distance by {both.method}."] if both.method != "none" else ["There is no delta."]
    if np.isfinite(both.delta.residual_s):
        notes[0] += f" At the official points the delta is off by {both.delta.residual_s:.3f} s, root mean square."
    if both.method != "none" and both.holes:
        where = ", ".join(f"{begin:,.0f} to {end:,.0f} m" for begin, end in both.holes)
        notes.append(f"Nothing was received at {where}.")
    return (*notes, *both.notes)
