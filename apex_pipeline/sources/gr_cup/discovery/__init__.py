"""Identifies GR Cup raw files by path, content and sibling files."""
