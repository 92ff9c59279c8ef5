"""Derives laps from finish-line crossings, with their cars, times, flags and confidence.

The entry point is ``derivation.py``. From the cars' own data: ``triggers.py`` reads the lap files, ``crossings.py``
groups triggers into crossings, ``lap.py`` defines the lap between two crossings, ``pace.py`` the typical lap times,
``lap_flags.py`` the rules that flag laps, ``late_crossings.py`` the repair of late timestamps and
``telemetry_evidence.py`` the use of telemetry; ``car_laps.py`` runs these steps in order. From official timing:
``official_cars.py`` reads it, ``official_clock.py`` aligns its clock, ``crossing_match.py`` and ``identity.py`` match
devices to official cars, ``alignment.py`` pairs the crossings of a car with its official laps, and
``official_merge.py`` merges both. ``rows.py`` converts the results to table rows.
"""
