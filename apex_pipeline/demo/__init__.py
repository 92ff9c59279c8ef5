"""A synthetic race weekend with planted faults, and the answers.

The way of the data is the list of files: ``tracks`` and ``cars`` say who could race, ``faults`` what is planted,
``world`` what truly happens; ``lap_files``, ``telemetry_files`` and ``official_files`` write it down as the real
sources do, faults included; ``truth`` fills the answer sheet; ``weekend`` does it all in one call.
"""

from apex_pipeline.demo.answers import AnswerSheet, FaultKind
from apex_pipeline.demo.options import WeekendOptions
from apex_pipeline.demo.weekend import answers_path, make_weekend

__all__ = ["AnswerSheet", "FaultKind", "WeekendOptions", "answers_path", "make_weekend"]
