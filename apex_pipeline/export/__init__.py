"""Exports: parts of a lake as bundles, database files or links, and downsampled copies of race folders."""
