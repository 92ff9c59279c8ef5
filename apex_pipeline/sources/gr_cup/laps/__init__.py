"""Lap truth: from crossings of the line to laps with who, when, how long, and how sure.

The way, a module each. ``lap`` is what lies between two crossings; ``outings`` keeps the days apart; ``pace`` knows
what is usual; ``splits``, ``judging`` and ``late_crossings`` find what the triggers tell wrong; ``witnesses`` asks
telemetry; ``phases`` tells racing from rolling; ``own_laps`` does these in order, from the cars' own data alone. Then
official timing comes in: ``official_cars`` reads it, ``official_clock`` aligns its clock, ``crossing_evidence`` and
``identity`` find who is who, ``alignment`` pairs the crossings of a car, ``confirming`` puts both sides together.
``derivation`` is the door, ``rows`` the way to the tables.
"""
