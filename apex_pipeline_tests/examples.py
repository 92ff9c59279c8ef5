"""How many examples Hypothesis tries where a test needs more than its profile gives; see conftest.py for profiles."""

from hypothesis import HealthCheck, settings


def at_least(examples: int, *suppressed: HealthCheck) -> settings:
    """Return settings with this many examples, or as many as the profile has where those are more.

    Args:
        examples: Number of examples.
        suppressed: Health checks to leave out, next to those the profile leaves out.
    """
    profile = settings()
    return settings(
        max_examples=max(examples, profile.max_examples),
        suppress_health_check=[*profile.suppress_health_check, *suppressed],
    )
