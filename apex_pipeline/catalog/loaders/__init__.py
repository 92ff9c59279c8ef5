"""The loaders that applications call: tracks, sessions, laps and telemetry as frames, errors as ``None`` or ``[]``.

``loader`` has the calls. What is found under which name is ``search``, ``files``, ``names`` and ``sessions``; what
becomes a frame is ``frames`` and ``reading``; what is told when it cannot, ``failures``.
"""
