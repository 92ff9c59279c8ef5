"""How good a session's data is: scores in numbers (``scores``), the session note in words (``note``), as one table.

Here belongs what can be said from the published tables of a session. docs/quality.md has the rules and their reasons.
"""

from apex_pipeline.sources.gr_cup.quality.table import score_session, session_note_of, worst_scores

__all__ = ["score_session", "session_note_of", "worst_scores"]
