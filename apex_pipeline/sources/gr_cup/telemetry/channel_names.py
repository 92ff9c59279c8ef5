"""Says which names of unknown channels may be published: those made of words for measurements, never a person's name.

A row whose cells are shifted has a driver in the place of the channel. See ``channels.py`` for the known channels.
"""

import re

# Words of channel names in data loggers, in lower case. Parts of names that are not here, and are no codes, hide
# the name; its readings are published all the same.
_WORDS = frozenset(
    """
    absolute acc accel acceleration accelerator accelerometer actual aero aerodynamic afr air airflow altitude ambient
    amps angle angular applied axle balance bank bar barometric battery beacon best bias blade boost brake brakes bump
    calc calculated camber camshaft capacity caster celsius cell channel charge chassis clutch coil coolant count
    counter course crank crankcase crankshaft current cylinder damper damping deflection degrees delta demand desired
    diff differential direction disc dist distance driveshaft duration duty dynamic east efficiency electric enabled
    energy engine error exhaust fan fast fault field filtered first flag flow force four frequency friction front fuel
    gain gearbox gears gps ground gyro heading headlight heave height high horizontal hours humidity hybrid hydraulic
    ignition inertial injection injector inlet inner input intake inverter kerb kilometres knock lambda lap laps lateral
    latitude launch left level lift limit limiter line linear load lock long longitude longitudinal lost lower main
    manifold maximum mean measured metres middle minimum minutes mode motor mph number odometer offset outer output
    oxygen pack pedal percent period phase pitch pos position power predicted press pressure pump quality radius rail
    raw rear received reference regen relative requested ride right roll rotation rotor running satellite satellites
    scaled seconds sector sensor setting shaft shift signal slip slow smoothed solenoid spark speed split spring start
    state static status steer steering strain strategy supply susp suspension switch target temp temperature temps third
    throttle time timer timing tire tires toe torque total traction trans transmission travel trigger turbine turbo tyre
    tyres upper valid value valve vbat vbox vehicle velocity vert vertical vibration volt voltage volts water wheel
    wheels wheelspeed wind wing yaw
    """.split()  # noqa: SIM905  -- a list of words is easier to read
)
# aps, ath, gps: shorter than most names.
_LONGEST_CODE = 3
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_]+")
_LONGEST = 60


def may_be_shown(channel: str) -> bool:
    """Return whether a channel's name is made of words for measurements and short codes only."""
    return len(channel) <= _LONGEST and all(map(_is_technical, _PART.findall(channel)))


def shown_name(channel: str) -> str:
    """Return the name for a message: as it is, or only its length if it may name a person."""
    return channel if may_be_shown(channel) else f"of {len(channel)} characters, not shown as they may name a person"


def _is_technical(part: str) -> bool:
    word = part.lower()
    # Codes add letters to a word: pbrake, accelx, speedfl.
    words = (word, word[1:], word[:-1], word[:-2])
    return len(word) <= _LONGEST_CODE or not _WORDS.isdisjoint(words)
