"""Generates races whose every lap is known, and judges what the pipeline makes of them.

Independent of the rules under test: only physics and the facts measured on real files are used (DATA_DICTIONARY). A
seed gives a plan (``plan.py``), the plan gives the laps driven (``drive.py``), these give what the cars' units sent
(``units.py``) and what official timing printed (``official.py``). ``judges.py`` compares the laps derived with the laps
driven; ``mutations.py`` damages official timing systematically.
"""
