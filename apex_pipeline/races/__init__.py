"""Contains AMS2 races as a service: upload, state, queue, processing, deletion; see ``sources/ams2`` for the format.

The row of a race in the database is the truth about it. The queue may lose or repeat jobs without consequences.
"""
