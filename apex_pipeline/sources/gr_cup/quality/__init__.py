"""Rates the data quality of a session from its published tables, as scores and as a session note.

Contains the scores (``scores.py``), the session note (``summary.py``) and the table ``quality`` with both
(``table.py``); docs/quality.md has the rules and their reasons.
"""

from apex_pipeline.sources.gr_cup.quality.table import score_session, session_note_of, worst_scores

__all__ = ["score_session", "session_note_of", "worst_scores"]
