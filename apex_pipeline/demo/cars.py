"""The entry lists: chassis, the number stored in the car's device, and the true car number.

Six cars per track and one guest each carry a fault; the others are ordinary.
"""

from dataclasses import dataclass

from apex_pipeline.demo.tracks import HARBOR, DemoTrack


@dataclass(frozen=True)
class DemoCar:
    """A car on the entry list.

    Attributes:
        chassis: Three digits, unique within a track.
        suffix: Car number stored in the car's device.
        number: True official number, as text.
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
        """The number as printed in the anonymised official files: ``03`` becomes ``3``."""
        return str(int(self.number))


_HARBOR_CARS = (
    DemoCar("022", "13", "13"),
    DemoCar("002", "000", "2"),
    DemoCar("060", "2", "111"),
    DemoCar("013", "80", "80"),
    DemoCar("036", "98", "98"),
    DemoCar("025", "47", "47"),
)
_MESA_CARS = (
    DemoCar("018", "46", "46"),
    DemoCar("037", "03", "03"),
    DemoCar("040", "3", "3"),
    DemoCar("006", "7", "7"),
    DemoCar("030", "72", "72"),
    DemoCar("033", "21", "21"),  # sorts between 03 and 3 as text, so the two blocks printed 3 are not adjacent
)
# Has triggers at the track, but does not take part in the race.
SPECTATOR = DemoCar("028", "89", "89")
# A guest in one race; half of its crossings match another car.
UNDECIDED = DemoCar("004", "78", "58")


def entry_list(track: DemoTrack, count: int, *, inject_faults: bool) -> tuple[DemoCar, ...]:
    """Return the cars of a track, fastest first; without faults every suffix is the true car number."""
    special = (_HARBOR_CARS if track is HARBOR else _MESA_CARS) if inject_faults else ()
    ordinary = (DemoCar(f"{120 + place}", f"{200 + place}", f"{200 + place}") for place in range(count - len(special)))
    return (*special, *ordinary)
