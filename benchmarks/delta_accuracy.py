"""Measures how far deltas are off, at official intermediate points that took no part, for all pairs of laps of a lake.

    .venv/bin/python benchmarks/delta_accuracy.py lake
    .venv/bin/python benchmarks/delta_accuracy.py --synthetic 40

For each pair of laps of a track and each point that both have, the delta is made without that point and compared there
with the official difference. Pairs are comparable if both laps were received from line to line, agree with official
timing within 0.5 s, and neither was driven from the green flag or through the pits. Synthetic laps are compared with
their true delta all along the lap instead.
"""

import argparse
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from apex_pipeline.catalog import Catalog, open_catalog
from apex_pipeline.distance import Delta, LapSamples, TrackLine, compare_laps, lap_on_distance, learn_line
from apex_pipeline.distance.samples import MAX_RESIDUAL_S
from apex_pipeline_tests.distance.driving import PLACE, Driven, Faults, drive

_STEP_M = 2.0
_FEWEST_POINTS = 2
# Laps of one track that are compared with each other: 30 laps are 435 pairs.
_MOST_LAPS = 30
_CHANNELS: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judged:
    """One point of one pair: how far the delta was off, and how far it was said to be off at most."""

    error_s: float
    said_s: float
    method: str


def main() -> None:
    """Run the benchmark and print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lake", nargs="?", help="folder or URL of a lake with telemetry and official points")
    parser.add_argument(
        "--synthetic", type=int, default=0, metavar="PAIRS", help="pairs of synthetic laps of each kind"
    )
    parser.add_argument("--from-green", action="store_true", help="also laps from the green flag that are scaled")
    arguments = parser.parse_args()
    if arguments.lake:
        _real(open_catalog(arguments.lake), from_green=arguments.from_green)
    if arguments.synthetic:
        _synthetic(arguments.synthetic)


def _real(catalog: Catalog, *, from_green: bool) -> None:
    every: list[Judged] = []
    print("| pair | method | errors at points left out, s |\n| --- | --- | --- |")
    for laps in _comparable(catalog, from_green=from_green).values():
        for (a, line), (b, _) in combinations(laps, 2):
            found = _judged(a, b, line)
            every += found
            texts = " ".join(f"{judged.error_s:+.3f}" for judged in found)
            print(f"| {a.label} / {b.label} | {', '.join(sorted({judged.method for judged in found}))} | {texts} |")
    if not every:
        print("\nNo comparable pair with official points.")
        return
    sizes, said = (np.abs([getattr(judged, name) for judged in every]) for name in ("error_s", "said_s"))
    print(
        f"\n{len(every)} points: median {np.median(sizes):.3f} s, worst {sizes.max():.3f} s, root mean square "
        f"{np.sqrt(np.mean(sizes**2)):.3f} s; within error_s {np.mean(sizes <= said):.0%}, error_s "
        f"{np.median(said):.3f} s (median)"
    )


def _comparable(catalog: Catalog, *, from_green: bool) -> dict[str, list[tuple[LapSamples, TrackLine | None]]]:
    """Return the comparable laps of each track, with the line of the track."""
    found: defaultdict[str, list[tuple[LapSamples, TrackLine | None]]] = defaultdict(list)
    for key in catalog.snapshot.keys:
        race = catalog.session(*key)
        line = catalog.lap_distances.geometry.map(key).line
        for row in race.laps(frame="arrow").to_pylist():
            if len(found[key.track]) >= _MOST_LAPS or row["is_in_lap"] or row["is_out_lap"]:
                continue
            if row["lap_time_s"] is None or row["line_start_utc"] is None:
                continue
            samples = race.lap(car=row["vehicle_id"], number=row["lap_number"]).samples()
            if _is_comparable(samples, line, from_green=from_green):
                found[key.track].append((samples, line))
    return found


def _is_comparable(lap: LapSamples, line: TrackLine | None, *, from_green: bool) -> bool:
    if len(lap.points) < _FEWEST_POINTS or abs(lap.residual_s) > MAX_RESIDUAL_S or not lap.has_clock:
        return False
    if lap.from_green and not (from_green and lap.is_scaled):
        return False
    return lap_on_distance(lap, 100.0, line=line, channels=_CHANNELS).method != "none"


def _judged(a: LapSamples, b: LapSamples, line: TrackLine | None) -> list[Judged]:
    """Return the error at each point of a pair, the point left out."""
    points_a, points_b = a.usable_points(), b.usable_points()
    return [
        _at_point(_without(a, name), _without(b, name), line, points_a[name], points_b[name])
        for name in points_a
        if name in points_b
    ]


def _without(lap: LapSamples, point: str) -> LapSamples:
    return replace(lap, points=[other for other in lap.points if other[0] != point])


def _at_point(a: LapSamples, b: LapSamples, line: TrackLine | None, time_a: float, time_b: float) -> Judged:
    """Return the error where lap ``a`` is at the official time of the point."""
    delta = compare_laps(a, b, _STEP_M, line, _CHANNELS)
    known = np.isfinite(delta.delta_s)
    place = np.interp(time_a, delta.a.time_s[known], delta.distance_m[known])
    said = float(np.interp(place, delta.distance_m[known], delta.error_s[known]))
    error = float(np.interp(place, delta.distance_m[known], delta.delta_s[known])) - (time_b - time_a)
    return Judged(error, said, delta.method)


def _synthetic(pairs: int) -> None:
    line = learn_line([drive().samples], PLACE)
    print("| laps | worst, s | 95 % of pairs, s | median, s | within error_s |\n| --- | ---: | ---: | ---: | ---: |")
    for name in ("no faults", "holes", "held GPS in turn", "late and bunched", "all faults"):
        rng = np.random.default_rng(20)
        worst: list[float] = []
        covered: list[float] = []
        for _ in range(pairs):
            a, b = (
                drive(rng.uniform(96, 101), rng.uniform(0, 0.04), rng.uniform(0, 6), _faults(name, rng)) for _ in "ab"
            )
            delta = compare_laps(a.samples, b.samples, _STEP_M, line if isinstance(line, TrackLine) else None)
            error = np.abs(_true_error(delta, a, b))
            worst.append(float(np.nanmax(error)))
            known = np.isfinite(error)
            covered.append(float(np.mean(error[known] <= delta.error_s[known])))
        print(
            f"| {name} | {max(worst):.3f} | {np.quantile(worst, 0.95):.3f} | {np.median(worst):.3f} "
            f"| {np.mean(covered):.1%} |"
        )


def _true_error(delta: Delta, a: Driven, b: Driven) -> np.ndarray:
    return delta.delta_s - (b.time_at(delta.distance_m) - a.time_at(delta.distance_m))


def _faults(name: str, rng: np.random.Generator) -> Faults:
    """Return faults of a kind; holes are 0.6 to 2 s, readings late by up to 1.5 s, wheels 1 % off."""
    wheel = float(rng.uniform(0.99, 1.003))
    early, late = float(rng.uniform(5, 40)), float(rng.uniform(50, 88))
    holes = ((early, float(rng.uniform(0.6, 2.0))),)
    bunches = ((late, float(rng.uniform(0.5, 1.5))),)
    return {
        "no faults": Faults(wheel=wheel),
        "holes": Faults(wheel=wheel, holes=(*holes, (late, 1.4))),
        "held GPS in turn": Faults(wheel=wheel, split_gps=True),
        "late and bunched": Faults(wheel=wheel, bunches=((early, 1.0), *bunches), jitter=1),
        "all faults": Faults(wheel=wheel, holes=holes, bunches=bunches, jitter=1, split_gps=True, repeats=60),
    }[name]


if __name__ == "__main__":
    main()
