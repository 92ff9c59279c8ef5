"""Tests of the report of a session."""
