"""Which names of unknown channels are shown: those of measurements, and never one that may be a person's."""

import pytest

from apex_pipeline.sources.gr_cup.telemetry.channel_names import shown_name

_MEASUREMENTS = (
    *("tyre_temp_fl", "pBrakeF", "accx", "Steering Wheel Torque [Nm]", "VBOX_Altitude", "tOil2", "WheelSpeedRL"),
    *("Yaw_Rate", "Knock_Retard", "ABS_active", "ERS_deploy", "gearshift", "Wheelspin", "kers", "Laptrigger_lapdist"),
    *("Oil Temp [°C]", "fuel tank level", "Tire Pressure FR", "water_temp", "gps_lat", "nEngine", "Engine RPM"),
    *("brake_temp_rl_max", "TC active", "damper_pos_fl", "braketemp", "Front Wing Angle", "lambda1"),
)
_SHORT = ("Max Lee", "Kim Lee", "J. Fox", "VER", "HAM", "Jo", "Li", "ABS", "FR", "R.", "Bo Wing", "Jo Bright")
# Words that loggers use, alone or beside a first name or an initial.
_SURNAMES = (
    *("Max Long", "Tom Best", "Ray Field", "Long", "Best, Max", "FIELD_RAY", "long_best", "M Power", "W. Power"),
    *("Lane Main", "S. Speed", "E. Long-Field", "Delta Spring", "R.Wheel", "Field Best Long", "Longfield", "Cardwell"),
)
# A letter more or less made a word of a measurement of them.
_NEARLY_WORDS = ("Wheeler", "Wingo", "Bright", "Longe", "Pressman", "Axler", "Tempest", "Speedy", "Damperé", "Lambdas")
_OTHER_SCRIPTS = ("王伟", "李小龙", "王", "김민수", "Łą", "μ", "Żebrowski", "Oil 王", "Oil Temp Łą", "éngine")
_OTHERS = ("Zebrowski", "Quintessa Zebrowski", "ZEBROWSKI_Q", "zebrowski-13", "13", "!!", "", "oil " * 30)


@pytest.mark.parametrize("channel", _MEASUREMENTS)
def test_a_name_made_of_words_for_measurements_is_shown(channel: str) -> None:
    assert shown_name(channel) == channel


@pytest.mark.parametrize("channel", [*_SHORT, *_SURNAMES, *_NEARLY_WORDS, *_OTHER_SCRIPTS, *_OTHERS])
def test_a_name_that_may_be_a_persons_is_not_shown(channel: str) -> None:
    assert shown_name(channel) == f"of {len(channel)} characters, not shown as they may name a person"
