"""Bytes: the object store behind one contract, verified copying, change detection. Nothing here knows a race."""
