"""The report of a session: one HTML file that needs no network.

See ``facts.py`` for what it is about, ``page.py`` for its parts in order, docs/report.md for how to read one.
"""

from apex_pipeline.reports.session_report.facts import SessionFacts, facts_of
from apex_pipeline.reports.session_report.page import Report, compose_report, render_report

__all__ = ["Report", "SessionFacts", "compose_report", "facts_of", "render_report"]
