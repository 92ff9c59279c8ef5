"""The loaders that applications call: tracks, sessions, laps and telemetry as frames, without exceptions.

``loader`` contains the calls. ``lookup``, ``raw_index`` and ``filenames`` find the file of a session; ``fetch``,
``derive`` and ``frames`` turn it into a frame; ``failures`` lists the reasons why a call returns nothing.
"""
