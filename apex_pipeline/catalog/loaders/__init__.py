"""Contains the loaders that applications call: tracks, sessions, laps and telemetry as frames, never an exception.

``loader`` has the calls. ``lookup``, ``raw_index`` and ``filenames`` find the file of a session; ``fetch``, ``derive``
and ``frames`` turn it into a frame; ``failures`` has the reasons when that cannot be done.
"""
