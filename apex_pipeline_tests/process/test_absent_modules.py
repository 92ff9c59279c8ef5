"""A library can be imported without what it would load only to see whether it is there."""

import importlib
import importlib.util
import json
import sys

import pytest

from apex_pipeline.process.absent_modules import absent


def test_a_module_cannot_be_imported_within_the_block_and_can_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)
    with absent("this"), pytest.raises(ImportError):
        importlib.import_module("this")
    assert "this" not in sys.modules
    assert importlib.util.find_spec("this") is not None


def test_what_is_loaded_already_stays() -> None:
    with absent("json"):
        assert importlib.import_module("json") is json
    assert sys.modules["json"] is json


def test_it_can_be_imported_again_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)
    with pytest.raises(KeyError), absent("this"):
        raise KeyError("this")
    assert "this" not in sys.modules
