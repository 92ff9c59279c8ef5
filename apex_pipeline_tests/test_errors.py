"""Errors: permanent or transient, readable, and picklable."""

import pickle

import pytest

from apex_pipeline import errors
from apex_pipeline.errors import ApexError, PermanentError, TransientError

_KINDS = [kind for name in errors.__all__ if isinstance(kind := getattr(errors, name), type)]


@pytest.mark.parametrize("kind", _KINDS)
def test_every_error_states_the_problem_and_the_next_step(kind: type[ApexError]) -> None:
    error = kind("a.csv has no header.", "Export it again.")
    assert str(error) == "a.csv has no header. Export it again."


@pytest.mark.parametrize("kind", _KINDS)
def test_every_error_can_be_pickled(kind: type[ApexError]) -> None:
    returned = pickle.loads(pickle.dumps(kind("p.", "r.")))  # noqa: S301  -- our own bytes
    assert (type(returned), returned.problem, returned.hint) == (kind, "p.", "r.")


@pytest.mark.parametrize("kind", [kind for kind in _KINDS if kind is not ApexError])
def test_an_error_is_either_permanent_or_transient(kind: type[ApexError]) -> None:
    assert issubclass(kind, PermanentError) != issubclass(kind, TransientError)
    assert kind.is_permanent == issubclass(kind, PermanentError)
