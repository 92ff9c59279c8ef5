"""Contains the steps from a source folder to the lake: scan, plan, copy, catalog, quarantine."""
