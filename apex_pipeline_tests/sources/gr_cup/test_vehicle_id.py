"""Vehicle ids are split into chassis and car number."""

import pytest

from apex_pipeline.sources.gr_cup.parsing import split_vehicle_id


@pytest.mark.parametrize(
    ("vehicle_id", "chassis", "number"),
    [
        ("GR86-022-13", "022", "13"),
        ("GR86-037-03", "037", "03"),
        ("GR86-002-000", "002", None),
        ("GR86-002-0", "002", "0"),
        ("GR86--5", "GR86--5", None),
        ("GR86-5", "GR86-5", None),
        ("GT4-AMR-7-99", "AMR-7", "99"),
        ("car7", "car7", None),
    ],
)
def test_the_car_number_stays_text_and_000_means_none(vehicle_id: str, chassis: str, number: str | None) -> None:
    assert split_vehicle_id(vehicle_id) == (chassis, number)
