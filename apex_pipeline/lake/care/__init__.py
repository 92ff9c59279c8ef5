"""Maintenance of a lake: verifying its objects, and removing what has expired."""
