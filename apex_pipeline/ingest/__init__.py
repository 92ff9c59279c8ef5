"""Brings files from a source folder into the lake: scan, plan, copy, catalog, quarantine."""
