"""Lists, in this one place, what is known to be judged wrong, with the reason: it is left out of the tests.

A soak test runs what is listed here and fails for an entry that has become right, so that the list only shrinks.
"""

from apex_pipeline_tests.races.plan import RacePlan, incidents_of

_STOPS = "minutes in the garage pass as laps, excused by slow_field"
_JUDGE = "official timing is a judge, not a witness: its cells are not checked against stamps and watch"
_CLOCK = "the first acceptable alignment of the official clock is taken, not the best"

# Kinds of race, shapes of session or incidents, with official timing or without; single races by seed.
RACES: dict[str, str] = {
    "practice/hidden": _STOPS,
    "qualifying/hidden": _STOPS,
    "red_flag/hidden": _STOPS,
    "late_first/hidden": "a first lap begun with a late stamp is not seen",
    "late_many/hidden": "several late stamps are judged against a pace that contains them",
    "missing/hidden": "behind the safety car, a lap with a missing crossing passes, excused by slow_field",
    "swap/hidden": _STOPS,
    "swap/official": "evidence for a unit's car has no time: one number for the whole session",
    "two_minutes/official": _CLOCK,
    # One race of its kind in 25.
    "seed 252": "an excuse for a slow field has no limit",
    "seed 363": "an excuse for a slow field has no limit",
    "seed 457": "official timing of another race is aligned, and gives units other cars' numbers",
}
MUTATIONS: dict[str, str] = {
    "cell LAP_TIME": _JUDGE,
    "cell HOUR": _CLOCK,
    "clock -120 s off": _CLOCK,
    "clock -60 s off": _CLOCK,
    "clock 120 s off": _CLOCK,
    "clock 420 s off": _CLOCK,
    "column HOUR is one row too high": _CLOCK,
    "column LAP_TIME a minute more": _JUDGE,
    "column LAP_TIME a second less": _JUDGE,
    "column LAP_TIME as fraction of a day": _JUDGE,
    "column LAP_TIME in milliseconds": _JUDGE,
    "column LAP_TIME is one row too high": _JUDGE,
    "column LAP_TIME ten times": _JUDGE,
    "columns LAP_TIME and ELAPSED are swapped": _JUDGE,
    "columns LAP_TIME and S3_SECONDS are swapped": _JUDGE,
    "every lap a tenth shorter": _JUDGE,
    "row has half the lap time": _JUDGE,
    "row has nine tenths of the lap time": _JUDGE,
    "row has the lap time of the row below": _JUDGE,
    "row has the times of the row below": _JUDGE,
}


def race_keys(plan: RacePlan) -> set[str]:
    """Return the keys under which a race may be listed in ``RACES``: by kind, shape, incident, or seed."""
    sight = "official" if plan.has_official else "hidden"
    return {f"seed {plan.seed}", *(f"{what}/{sight}" for what in (plan.kind, plan.shape, *incidents_of(plan)))}


def is_left_out(mutation: str) -> bool:
    """Return whether a mutation begins like an entry of ``MUTATIONS``, row numbers left out."""
    return mutation_key(mutation) in MUTATIONS


def mutation_key(mutation: str) -> str:
    """Return the key of a mutation: its name without the row, and for cells only the column."""
    words = mutation.split()
    if words[0] == "cell":
        return f"cell {words[1]}"
    return " ".join(["row", *words[2:]]) if words[0] == "row" else mutation
