"""Keeping a lake healthy: is this machine ready, does the lake hold what it says, what in it is nobody's any more."""
