"""Hypothesis settings for tests that need more examples than the profile runs; see conftest.py for the profiles."""

from hypothesis import HealthCheck, settings


def at_least(examples: int, *suppressed: HealthCheck) -> settings:
    """Return settings with at least this number of examples, or that of the profile if it is higher.

    Args:
        examples: Number of examples.
        suppressed: Health checks to suppress in addition to those of the profile.
    """
    profile = settings()
    return settings(
        max_examples=max(examples, profile.max_examples),
        suppress_health_check=[*profile.suppress_health_check, *suppressed],
    )
