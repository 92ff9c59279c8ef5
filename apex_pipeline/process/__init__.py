"""This process and others: signals, standard streams, and whether another process is still alive.

Importing these modules takes a few milliseconds, because ``__main__.py`` needs them before anything else.
"""
