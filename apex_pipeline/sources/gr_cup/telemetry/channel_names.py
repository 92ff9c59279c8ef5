"""Says which names of unknown channels may be published: those made of words for measurements, never a person's name.

A row whose cells are shifted has a driver in the place of the channel. See ``channels.py`` for the known channels.
"""

import re

# Words of channel names in data loggers, in lower case, that name nobody. Of the 91,910 first names and surnames in the
# census of the United States of 1990 eight are here, none of them frequent: fuel, temp, sensor, rear and the like.
_MEASURES = frozenset(
    """
    absolute accel acceleration accelerator accelerometer accelx accely accelz accx accy accz active actual
    actuator advance aero aerodynamic air airflow alarm altitude ambient amps angular applied axle balance
    barometric battery beacon boost brakes bumpstop bypass calc calculated camber camshaft capacity carcass cell
    celsius charge chassis closed clutch coasting compensated compensation consumed consumption contact coolant
    corrected correction count crankcase cranking crankshaft curvature cycle cylinder cylinders damper damping
    deflection degrees demand density deploy deployed desired detected diff differential direction disc distance
    downforce downshift drag driveline driveshaft duration dwell dynamic efficiency electric enable enabled
    energy engine error errors ethanol exhaust fault filtered flag flap four frequency friction front fuel gauge
    gearbox gearchange gears gearshift gps gyro gyroscope hdop heading headlight heave horizontal hours humidity
    hybrid hydraulic idle ignition inertial injection injector inlet inner input intake inverter kerb kers
    kilometres lambda lapdist laps laptime laptrigger lateral latitude launch lift limit limiter load longitude
    longitudinal lost magnetometer manifold maximum measured metres middle minimum minutes misfire motor nmot
    odometer offset oil open outer output oversteer oxygen pedal percent period phase pitot plenum position
    potentiometer predicted pressure pressures propshaft pulsewidth pushrod quality radius rate rear received
    reference regen relative remaining requested retard retardation ride rotation rotor rpm satellite satellites
    scaled seconds sector sensor sensors shaft shift shifter signal sliding slip slow smoothed solenoid speeds
    split stability static status steering strategy strut supply susp suspension switch target temp temperature
    temps third throttle time timer timing tire tires torque torques total traction trans transmission travel
    trigger turbine turbo tyres understeer upper upshift usage used valid value valve vbat vbox vehicle velocity
    vertical vibration viscosity volt voltage voltages volts wastegate wheel wheelbase wheels wheelslip
    wheelspeed wheelspin
    """.split()  # noqa: SIM905  -- a list of words is easier to read
)
# Words of channel names that are surnames, too (Long, Best, Field, Yaw): they need one of the words above beside them.
_AMBIGUOUS = frozenset(
    """
    angle bank best bias blade brake bump caster channel coast coil counter course crank current dash delta
    diesel duty east fan fast field first flow force fuelling gain gear ground height high hub knock lap left
    level line linear lock long loop lower main mean mode number pack pitch plate power press pump rail raw
    right rocker roll running sample samples setting shock spark speed spring start state steer strain surface
    tank toe track tyre vert warning water wind wing yaw
    """.split()  # noqa: SIM905  -- a list of words is easier to read
)
# Wheels, axes, sensors, units and statistics, which need a word beside them, too. Any other short part, such as the
# three letters of a driver (VER), hides the name; so does an initial with a full stop.
_CODES = frozenset(
    """
    abs ac acc adc afr aps ath avg ax ay az bar bus can ch cm dc deg dist dls drs ect ecu egt ers esp fl fr gx
    gy gz hp hz iat id kg khz km kmh kpa kph kw lat lf lh lon lr maf map max min mm mpa mph ms nm pct pos psi
    ref rf rh rl rms rr std tc tcs tps usb
    """.split()  # noqa: SIM905  -- a list of words is easier to read
)
_WORDS = _MEASURES | _AMBIGUOUS
# Words written as one: wheelspin, laptrigger.
_SHORTEST_OF_TWO = 3
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_INITIAL = re.compile(r"(?<![A-Za-z])[A-Za-z]\.")
# pBrake, vLong: no name starts with a small letter before a capital.
_QUANTITY = re.compile(r"(?<![^\W_])[a-z](?=[A-Z])")
_LONGEST = 60


def may_be_shown(channel: str) -> bool:
    """Return whether a channel's name is made of words for measurements and known short codes only.

    One word at least must be no surname. Names in other scripts are not judged and not shown; a degree sign is allowed.
    """
    if len(channel) > _LONGEST or not channel.replace("°", "").isascii() or _INITIAL.search(channel):
        return False
    parts = [part.lower() for part in _PART.findall(channel)]
    is_named = any(map(_is_measure, parts)) or _QUANTITY.match(channel) is not None
    return is_named and all(map(_is_technical, parts))


def shown_name(channel: str) -> str:
    """Return the name for a message: as it is, or only its length if it may name a person."""
    return channel if may_be_shown(channel) else f"of {len(channel)} characters, not shown as they may name a person"


def _is_measure(part: str) -> bool:
    return part in _MEASURES or any(not _MEASURES.isdisjoint(two) for two in _two_words(part))


def _is_technical(part: str) -> bool:
    return len(part) == 1 or part in _CODES or part in _WORDS or bool(_two_words(part))


def _two_words(part: str) -> list[tuple[str, str]]:
    """Return the ways to read a part as two words for measurements, one of which is no surname."""
    ends = range(_SHORTEST_OF_TWO, len(part) - _SHORTEST_OF_TWO + 1)
    ways = [(part[:end], part[end:]) for end in ends]
    return [way for way in ways if _WORDS.issuperset(way) and not _MEASURES.isdisjoint(way)]
