"""A synthetic race weekend with injected faults, and its ground truth.

In order of data flow: ``tracks`` and ``cars`` list who can race where, ``faults`` plans what goes wrong, ``simulation``
drives the races; ``lap_files``, ``telemetry_files`` and ``official_files`` write them as the real sources do, faults
included; ``ground_truth`` records what is true; ``weekend`` runs it all.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apex_pipeline.demo.faults import FaultKind, InjectedFault, InjectedReject
    from apex_pipeline.demo.ground_truth import GroundTruth, LapTruth, SessionTruth
    from apex_pipeline.demo.options import WeekendOptions, ground_truth_path
    from apex_pipeline.demo.weekend import make_weekend

__all__ = [
    "FaultKind",
    "GroundTruth",
    "InjectedFault",
    "InjectedReject",
    "LapTruth",
    "SessionTruth",
    "WeekendOptions",
    "ground_truth_path",
    "make_weekend",
]

_MODULES = {
    "FaultKind": "faults",
    "GroundTruth": "ground_truth",
    "InjectedFault": "faults",
    "InjectedReject": "faults",
    "LapTruth": "ground_truth",
    "SessionTruth": "ground_truth",
    "WeekendOptions": "options",
    "ground_truth_path": "options",
    "make_weekend": "weekend",
}


def __getattr__(name: str) -> object:
    """Import a name when it is first used: every sync asks for the path of a ground truth, and few for a weekend."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
