"""Who races: chassis, what the unit calls the car, and its true start number.

Here belong the entry lists. Six cars per track and one guest each are there for a fault; the rest are ordinary.
"""

from dataclasses import dataclass

from apex_pipeline.demo.tracks import HARBOR, Track


@dataclass(frozen=True)
class Car:
    """An entry.

    Attributes:
        chassis: Three digits, unique within a track.
        suffix: What the car's unit takes for its number.
        number: True official number, text.
    """

    chassis: str
    suffix: str
    number: str

    @property
    def vehicle_id(self) -> str:
        """``GR86-<chassis>-<suffix>``."""
        return f"GR86-{self.chassis}-{self.suffix}"

    @property
    def printed_number(self) -> str:
        """The number as anonymised official files print it: ``03`` has become ``3``."""
        return str(int(self.number))


_HARBOR_CARS = (
    Car("022", "13", "13"),
    Car("002", "000", "2"),
    Car("060", "2", "111"),
    Car("013", "80", "80"),
    Car("036", "98", "98"),
    Car("025", "47", "47"),
)
_MESA_CARS = (
    Car("018", "46", "46"),
    Car("037", "03", "03"),
    Car("040", "3", "3"),
    Car("006", "7", "7"),
    Car("030", "72", "72"),
    Car("033", "21", "21"),  # as text between 03 and 3: the two blocks printed 3 do not follow each other
)
# Present at the track, seen by the triggers, absent from the race.
SPECTATOR = Car("028", "89", "89")
# In one race only; half of its crossings are another car's.
UNDECIDED = Car("004", "78", "58")


def entry_list(track: Track, count: int, *, plant_faults: bool) -> tuple[Car, ...]:
    """Return the cars of a track, best first; without faults every suffix is the car's true number."""
    special = (_HARBOR_CARS if track is HARBOR else _MESA_CARS) if plant_faults else ()
    ordinary = (Car(f"{120 + place}", f"{200 + place}", f"{200 + place}") for place in range(count - len(special)))
    return (*special, *ordinary)


__all__ = ["SPECTATOR", "UNDECIDED", "Car", "entry_list"]
