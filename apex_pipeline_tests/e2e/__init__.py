"""Contains the end-to-end tests, from a folder of raw files to published tables."""
