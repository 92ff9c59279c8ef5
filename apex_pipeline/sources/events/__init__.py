"""Rotated event files: their names, and what is in them. Pure; see the package ``events`` for shipping them."""
