"""Rates the data quality of a session from its published tables, as scores and as a session note.

The scores are in ``scores.py``, the session note in ``summary.py``, and the table ``quality`` with both in
``table.py``; see docs/quality.md for the rules and their reasons.
"""

from apex_pipeline.sources.gr_cup.quality.table import score_session, session_note_of, worst_scores

__all__ = ["score_session", "session_note_of", "worst_scores"]
