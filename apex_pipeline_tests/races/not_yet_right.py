"""Lists, in this one place, what is known to be judged wrong, with the reason: it is left out of the tests.

A soak test runs what is listed here and fails for an entry that has become right, so that the list only shrinks.
"""

from apex_pipeline_tests.races.plan import RacePlan, incidents_of

# Kinds of race, shapes of session or incidents, with official timing or without; single races by seed.
RACES: dict[str, str] = {}
MUTATIONS: dict[str, str] = {}


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
