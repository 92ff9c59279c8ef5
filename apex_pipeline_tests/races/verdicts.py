"""Runs races through the derivation under test and sums up the verdicts by kind."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from apex_pipeline.sources.gr_cup.laps.derivation import SessionLaps, derive_laps
from apex_pipeline_tests.races.drive import Driven, drive
from apex_pipeline_tests.races.judges import Verdict, contradicted_laps, false_best_laps, judge, true_laps
from apex_pipeline_tests.races.mutations import Mutation
from apex_pipeline_tests.races.official import ZONE, official_rows, official_table
from apex_pipeline_tests.races.plan import RacePlan, plan_of
from apex_pipeline_tests.races.sections_file import cells_of, read_cells
from apex_pipeline_tests.races.units import Report, report


def derive(driven: Driven, sent: Report) -> SessionLaps:
    """Derive the laps of a race from what the units sent and official timing printed."""
    return derive_laps("spa", "R1", sent.triggers, official_table(driven), ZONE, sent.telemetry)


def verdict_of(plan: RacePlan) -> Verdict:
    """Drive a planned race, derive its laps, and judge them."""
    driven = drive(plan)
    sent = report(driven)
    return judge(driven, sent, derive(driven, sent))


def contradictions(driven: Driven, sent: Report, mutation: Mutation) -> list[str]:
    """Return the valid laps that two witnesses contradict after official timing was mutated."""
    official = read_cells(mutation.apply(cells_of(official_rows(driven))))
    derived = derive_laps("spa", "R1", sent.triggers, official, ZONE)
    laps = derived.laps.to_pylist()
    truth = true_laps(driven)
    return contradicted_laps(laps, truth) + false_best_laps(laps, truth)


@dataclass
class Tally:
    """Verdicts of several races of one kind.

    Attributes:
        seeds: Races run.
        wrong: Seeds with something wrong.
        counts: Faults by judge.
        racing: Laps driven under racing conditions.
        kept: Laps published as valid and right.
        example: The first fault of each judge, with its plan.
    """

    seeds: int = 0
    wrong: list[int] = field(default_factory=list[int])
    counts: dict[str, int] = field(default_factory=dict[str, int])
    racing: int = 0
    kept: int = 0
    example: dict[str, str] = field(default_factory=dict[str, str])


JUDGES = ("invented", "false_best", "unflagged", "wrong_car", "lost")


def tally(seeds: Iterable[int]) -> dict[str, Tally]:
    """Return the verdicts of the races of these seeds, by kind, with and without official timing."""
    tallies: dict[str, Tally] = {}
    for seed in seeds:
        plan = plan_of(seed)
        key = f"{plan.kind}/{'official' if plan.has_official else 'hidden'}"
        _add(tallies.setdefault(key, Tally()), plan, verdict_of(plan))
    return tallies


def _add(total: Tally, plan: RacePlan, verdict: Verdict) -> None:
    total.seeds += 1
    total.racing += verdict.racing
    total.kept += verdict.kept
    if not verdict.is_right:
        total.wrong.append(plan.seed)
    for name in JUDGES:
        faults: tuple[str, ...] = getattr(verdict, name)
        total.counts[name] = total.counts.get(name, 0) + len(faults)
        if faults and name not in total.example:
            total.example[name] = f"{faults[0]}; {plan}"


def table(tallies: dict[str, Tally]) -> str:
    """Return the verdicts as text: a line per kind, then one reproduction of each fault."""
    head = f"{'kind':28}{'seeds':>6}{'wrong':>6}" + "".join(f"{name:>12}" for name in JUDGES) + f"{'kept':>8}"
    lines = [head]
    for key, total in sorted(tallies.items()):
        counts = "".join(f"{total.counts[name]:>12}" for name in JUDGES)
        kept = f"{100 * total.kept / total.racing:.1f} %" if total.racing else "-"
        lines.append(f"{key:28}{total.seeds:>6}{len(total.wrong):>6}{counts}{kept:>8}")
    for key, total in sorted(tallies.items()):
        lines += [f"{key} {name}: {text}" for name, text in total.example.items()]
        if total.wrong:
            lines.append(f"{key} seeds: {' '.join(str(seed) for seed in total.wrong)}")
    return "\n".join(lines) + "\n"
