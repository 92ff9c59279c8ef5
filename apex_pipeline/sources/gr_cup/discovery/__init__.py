"""Contains the identification of GR Cup raw files, by path, content and sibling files."""
