"""A synthetic race weekend with injected faults, and its ground truth.

In order of data flow: ``tracks`` and ``cars`` list who can race where, ``faults`` plans what goes wrong, ``simulation``
drives the races; ``lap_files``, ``telemetry_files`` and ``official_files`` write them as the real sources do, faults
included; ``ground_truth`` records what is true; ``weekend`` runs it all.
"""

from apex_pipeline.demo.faults import FaultKind, InjectedFault, InjectedReject
from apex_pipeline.demo.ground_truth import GroundTruth, LapTruth, SessionTruth
from apex_pipeline.demo.options import WeekendOptions
from apex_pipeline.demo.weekend import ground_truth_path, make_weekend

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
