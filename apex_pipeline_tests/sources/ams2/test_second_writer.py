"""Reads drives that a second writer recorded, which knows only the byte tables: laps, times and samples."""

import io
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from apex_pipeline.sources.ams2.errors import RecordingError
from apex_pipeline.sources.ams2.recording import Recording, read_recording
from apex_pipeline_tests.sources.ams2.second_writer import GENERATIONS, Leg, Recorder, Sample, Writer, packed


def _lap(seconds: float, lap: int, **more: object) -> Leg:
    return Leg(seconds, lap, of=seconds, truth="flying", **more)  # pyright: ignore[reportArgumentType]


_BOX = Leg(4, 1, "box")
_OUT = Leg(20.3, 1, "out", of=80, begins=60)  # the last quarter of the lap before the line
_SHORT_OUT = replace(_OUT, counts=False)
_LAPS = [_lap(31.37, 1), _lap(29.81, 2), _lap(30.456, 3)]
_CUT = Leg(12.2, 4, of=30)

DRIVES: dict[str, list[Leg]] = {
    "out-lap whose distance counts": [_BOX, _OUT, *_LAPS, _CUT],
    "out-lap whose distance stands still": [_BOX, _SHORT_OUT, *_LAPS, _CUT],
    "reset to the pits": [_OUT, _lap(31.37, 1), Leg(14.4, 2, of=30), replace(_BOX, lap=2), replace(_OUT, lap=2),
                          _lap(30.1, 2), _lap(29.9, 3), _CUT],
    "restart": [_OUT, _lap(31.37, 1), _lap(30.02, 2), Leg(9.7, 3, of=30), Leg(2, 1, "box", state=5),
                replace(_OUT, seconds=11), _lap(30.33, 1), _lap(29.77, 2), Leg(8, 3, of=30)],
    "restart without its state": [_OUT, _lap(31.37, 1), _lap(30.02, 2), Leg(9.7, 3, of=30), _lap(30.33, 1),
                                  _lap(29.77, 2), Leg(8, 3, of=30)],
    "restart within the first lap": [_lap(31.37, 1), Leg(9.7, 2, of=30), _lap(30.33, 1), _lap(29.77, 2),
                                     Leg(8, 3, of=30)],
    "two sessions": [_OUT, *_LAPS, replace(_CUT, seconds=5), Leg(3, 0, "box", session=5, changed=9),
                     _lap(33.3, 1, session=5, changed=9), _lap(31.19, 2, session=5, changed=9),
                     Leg(9, 3, of=30, session=5, changed=9)],
    "three sessions of one type": [_OUT, *_LAPS, Leg(3, 0, "box", state=1, changed=8), _lap(33.3, 1, changed=8),
                                   _lap(31.19, 2, changed=8), Leg(2, 0, "box", state=1, changed=9),
                                   _lap(32.1, 1, changed=9), Leg(9, 2, of=30, changed=9)],
    "invalid by bit 3": [_OUT, _lap(31.37, 1), _lap(29.81, 2, invalid=8), _lap(30.456, 3), _CUT],
    "invalid by bit 7": [_OUT, _lap(31.37, 1), _lap(29.81, 2, invalid=128), _lap(30.456, 3), _CUT],
    "in-lap and out of the pits": [_OUT, _lap(31.37, 1), replace(_lap(36.1, 2, pit_from=0.9), truth="in"),
                                   replace(_lap(44.4, 3, pit_until=0.1), truth="out"), _lap(30.0, 4), Leg(9, 5, of=30)],
    "joined in mid-lap": [Leg(17.7, 4, of=30, begins=12.3), _lap(30.7, 5), _lap(29.7, 6), Leg(3, 7, of=30)],
    "lap number beyond 255": [_lap(30 + place / 7, place % 256) for place in range(252, 260)] + [Leg(5, 4, of=30)],
    "finish with the clock stopped": [_lap(33.3, 1, session=5), _lap(31.19, 2, session=5), _lap(30.9, 3, session=5),
                                      Leg(6, 4, of=30, session=5, race_state=3)],
    "finish with the clock running on": [_lap(33.3, 1, session=5), _lap(31.19, 2, session=5),
                                         _lap(30.9, 3, session=5),
                                         Leg(6, 3, of=30.9, begins=30.9, session=5, race_state=3)],
    "replay afterwards": [_lap(33.3, 1), _lap(31.19, 2), Leg(4, 3, of=30), Leg(33.3, 1, of=33.3, state=6),
                          Leg(31.19, 2, of=31.19, state=6)],
    "pause": [_lap(33.3, 1), Leg(11.2, 2, of=31.19), Leg(7, 2, "pause", state=3),
              Leg(19.99, 2, of=31.19, begins=11.2), _lap(30.5, 3), Leg(9, 4, of=30)],
    "pause on the line": [_lap(33.3, 1), Leg(31.15, 2, of=31.19), Leg(7, 2, "pause", state=3),
                          Leg(0.04, 2, of=31.19, begins=31.15), _lap(30.5, 3), Leg(9, 4, of=30)],
    "camera away on the line": [_OUT, _lap(31.37, 1), Leg(21, 2, of=29.81),
                                Leg(8.81, 2, of=29.81, begins=21, viewed=2), Leg(6, 3, of=30.456, viewed=2),
                                Leg(24.456, 3, of=30.456, begins=6), _CUT],
    "camera away": [_OUT, _lap(31.37, 1), Leg(11, 2, of=29.81), Leg(9, 2, of=29.81, begins=11, viewed=2),
                    Leg(9.81, 2, of=29.81, begins=20), _lap(30.456, 3), _CUT],
}  # fmt: skip
# Legs that together are one lap: its first leg, its time.
_JOINED = {"pause": {1: (2, 31.19)}, "camera away": {2: (2, 29.81)}, "pause on the line": {1: (2, 31.19)},
           "camera away on the line": {2: (2, 29.81), 4: (3, 30.456)}}  # fmt: skip
_SESSIONS = {"restart": 2, "restart without its state": 2, "restart within the first lap": 2, "two sessions": 2,
             "three sessions of one type": 3}  # fmt: skip


def _truth(name: str) -> list[tuple[int, str, float, bool]]:
    found: list[tuple[int, str, float, bool]] = []
    beyond = 0
    for place, leg in enumerate(DRIVES[name]):
        if place in _JOINED.get(name, {}):
            found.append((_JOINED[name][place][0], "flying", _JOINED[name][place][1], True))
        elif leg.truth:
            beyond = 256 if name == "lap number beyond 255" and leg.lap < 100 else beyond
            found.append((leg.lap + beyond, leg.truth, leg.seconds, leg.truth == "flying" and not leg.invalid))
    return found


def _read(writer: Writer, container: str = "zlib") -> Recording:
    return read_recording(io.BytesIO(packed(writer.datagrams(), container)))


def _checked(name: str, how: Recorder, container: str = "zlib") -> tuple[Writer, Recording]:
    writer = Writer(DRIVES[name], how)
    result = _read(writer, container)
    rows = [row for row in result.laps.to_pylist() if row["lap_time_s"] is not None]
    found = [(row["lap_number"], row["kind"], row["lap_time_s"], row["is_valid"]) for row in rows]
    true = _truth(name)
    assert [lap[:2] + lap[3:] for lap in found] == [lap[:2] + lap[3:] for lap in true]
    assert np.abs(np.array([a[2] - b[2] for a, b in zip(found, true, strict=True)])).max() <= 1 / how.hertz
    assert len({row["session_index"] for row in rows}) == _SESSIONS.get(name, 1)
    return writer, result


@pytest.mark.parametrize(("generation", "hertz"), [("before patch 5", 10.0), ("patch 5", 1.0), ("AMS2", 10.0)])
@pytest.mark.parametrize("name", DRIVES)
def test_every_whole_lap_of_a_drive_is_found_and_no_other(name: str, generation: str, hertz: float) -> None:
    _checked(name, Recorder(generation, hertz))


_FIELDS = ("pos_x_m", "pos_z_m", "speed_mps", "engine_rpm", "throttle", "brake", "steering", "yaw_rad",
           "fuel_capacity_l", "fuel_level", "fuel_l", "gear", "current_time_s")  # fmt: skip


_OF_TIMINGS = ("pos_x_m", "pos_z_m", "current_time_s")


@pytest.mark.parametrize("container", ["zlib", "raw", "gzip", "ams2rec"])
@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("name", ["out-lap whose distance counts", "in-lap and out of the pits", "camera away"])
def test_all_fields_of_every_sample_are_those_that_were_sent(name: str, generation: str, container: str) -> None:
    writer, result = _checked(name, Recorder(generation), container)
    laps = [row for row in result.laps.to_pylist() if row["lap_time_s"] is not None]
    legs = [(place,) for place, leg in enumerate(DRIVES[name]) if leg.truth]
    legs += [(2, 3, 4)] if name == "camera away" else []
    for lap, parts in zip(laps, sorted(legs), strict=True):
        true = [sample for sample in writer.samples if sample.leg in parts]
        is_of_lap = result.samples["lap_index"].to_numpy() == lap["lap_index"]
        samples = result.samples.filter(pa.array(is_of_lap)).to_pylist()
        for sample, row in zip(true, samples, strict=True):
            is_away = DRIVES[name][sample.leg].viewed is not None
            has_position = generation != "before patch 5" and not is_away
            assert abs(row["lap_distance_m"] - sample.distance) < 1
            for field in _FIELDS:
                if is_away and field not in _OF_TIMINGS:
                    assert row[field] is None
                    continue
                exact = 0.26 if field.startswith("pos") and not has_position else 1e-3
                assert abs(row[field] - _sent(sample, field)) <= exact


def _sent(sample: Sample, name: str) -> float:
    put = sample.values
    return {
        "pos_x_m": sample.x, "pos_z_m": sample.z, "speed_mps": sample.speed, "engine_rpm": put["rpm"],
        "throttle": put["throttle"] / 255, "brake": put["brake"] / 255, "steering": max(-1, put["steering"] / 127),
        "yaw_rad": put["yaw"], "fuel_capacity_l": 110, "fuel_level": put["fuel"], "fuel_l": 110 * put["fuel"],
        "gear": -1 if put["gear"] == 15 else put["gear"], "current_time_s": sample.clock,
    }[name]  # fmt: skip


_RECORDERS = {
    "first entry": Recorder(slot=0),
    "last of 32": Recorder(slot=31, cars=32),
    "40 cars": Recorder(slot=17, cars=40, num=40),
    "5 % lost": Recorder(hertz=60, loss=0.05),
    "5 % lost at 10 Hz": Recorder(loss=0.05),
    "5 % lost, without ticks": Recorder("patch 5", 60, loss=0.05),
    "out of order and doubled": Recorder(hertz=60, swaps=0.1, doubles=0.1),
    "out of order, old packets": Recorder("before patch 5", 60, swaps=0.1, doubles=0.1),
    "ticks across 2^32": Recorder(first_tick=2**32 - 50_000),
    "packet numbers across 2^32": Recorder(first_number=2**32 - 700),
    "time stats that contradict the clock": Recorder(stats_off_s=3.0),
    "time stats that are a little off": Recorder(hertz=60, stats_off_s=0.3),
    "no time stats": Recorder(with_stats=False),
}


@pytest.mark.parametrize("recorder", _RECORDERS)
def test_a_reset_to_the_pits_is_read_right_however_it_was_recorded(recorder: str) -> None:
    _checked("reset to the pits", _RECORDERS[recorder])


@pytest.mark.soak  # 10 s in all; one drive of them is read above
@pytest.mark.parametrize("name", ["out-lap whose distance counts", "two sessions", "restart"])
@pytest.mark.parametrize("recorder", _RECORDERS)
def test_laps_are_right_however_they_were_recorded(recorder: str, name: str) -> None:
    _checked(name, _RECORDERS[recorder])


@pytest.mark.parametrize("name", ["camera away", "two sessions"])
def test_old_packets_that_do_not_name_the_driver_give_the_laps_of_the_car_in_view(name: str) -> None:
    _, result = _checked(name, Recorder("before patch 5", marks_player=False))
    assert "the one that the camera shows most" in result.detail


@pytest.mark.parametrize("name", ["camera away", "camera away on the line"])
def test_the_driver_among_all_cars_is_the_one_whose_laps_are_published(name: str) -> None:
    for how in (Recorder("before patch 5", marks_player=False), Recorder()):
        rows = _read(Writer(DRIVES[name], how)).timing.to_pylist()
        assert {row["participant_index"] for row in rows if row["is_driver"]} == {how.slot}
        assert all(row["is_driver"] for row in rows if row["participant_index"] == how.slot)


def test_timings_that_show_a_rival_are_counted_as_left_out() -> None:
    result = _read(Writer(DRIVES["camera away on the line"], Recorder("before patch 5", marks_player=False)))
    left_out = sum(count for name, count in result.counts.items() if name.startswith("timings_"))
    in_laps = result.samples.num_rows - result.counts["samples_without_timings"]
    assert result.counts["timings_without_driver"] == 148  # 14.81 s of another car at 10 Hz
    assert result.counts["timings"] == in_laps + left_out
    assert any(reject.reason == "timings_without_driver" for reject in result.rejects)


def test_a_lap_whose_end_was_not_in_view_is_lost_rather_than_taken_from_a_rival() -> None:
    writer = Writer(DRIVES["camera away on the line"], Recorder("before patch 5", marks_player=False))
    laps = [row for row in _read(writer).laps.to_pylist() if row["lap_time_s"] is not None]
    assert [row["lap_number"] for row in laps] == [1]
    assert laps[0]["lap_time_s"] == pytest.approx(31.37, abs=0.1)


def test_no_lap_is_taken_from_a_car_of_the_machine_when_a_person_drives_another() -> None:
    writer = Writer(DRIVES["out-lap whose distance counts"],
                    Recorder("before patch 5", marks_player=False, marks_people=True, viewed_all=2))  # fmt: skip
    with pytest.raises(RecordingError) as caught:
        _read(writer)
    assert caught.value.error_class == "no driver"
