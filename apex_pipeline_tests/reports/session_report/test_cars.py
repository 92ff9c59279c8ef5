"""Cars are named by number, and further only where two carry the same one."""

from apex_pipeline.reports.session_report.cars import CarNames
from apex_pipeline.tables.model import Row


def _row(number: str | None, vehicle_id: str | None, entry: int | None = None) -> Row:
    return {"car_number": number, "vehicle_id": vehicle_id, "entry": entry}


def test_a_car_is_called_by_its_number_whether_it_is_known_by_entry_or_by_device() -> None:
    names = CarNames([_row("13", None, 1), _row("13", "GR86-022-13"), _row("7", "GR86-006-7", 1)])
    assert names.of(_row("13", None, 1)) == names.of_vehicle("GR86-022-13", "13") == "#13"
    assert names.of_vehicle("GR86-006-7", None) == "#7"


def test_two_cars_with_one_printed_number_are_told_apart() -> None:
    names = CarNames([_row("3", "GR86-037-03", 1), _row("3", "GR86-040-3", 2)])
    assert names.of_vehicle("GR86-037-03", "3") == "#3 (1)"
    assert names.of(_row("3", None, 2)) == "#3 (2)"


def test_devices_that_carry_one_number_without_official_timing_are_named_by_device() -> None:
    names = CarNames([_row("3", "GR86-037-03"), _row("3", "GR86-040-3")])
    assert names.of_vehicle("GR86-040-3", "3") == "#3 (GR86-040-3)"


def test_a_car_without_a_number_is_named_by_its_device() -> None:
    names = CarNames([_row(None, "GR86-004-78")])
    assert names.of_vehicle("GR86-004-78", None) == "GR86-004-78"
    assert names.of_vehicle("GR86-099-1", "1") == "#1"
