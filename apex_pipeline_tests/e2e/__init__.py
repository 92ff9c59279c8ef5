"""The whole way, from a folder of files to published tables."""
