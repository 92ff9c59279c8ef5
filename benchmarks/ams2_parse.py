"""Compares reading an hour of Automobilista 2 at 60 Hz with a plain loop of ``struct``, in alternating runs.

    .venv/bin/python benchmarks/ams2_parse.py --minutes 60 --rounds 5

Ours inflates, parses, finds the laps of all cars, joins the samples, and writes Parquet and one ``.npy`` per lap. The
rival is the usual code: ``zlib.decompress``, then ``struct.unpack_from`` of the needed fields packet by packet, a new
lap where the lap number grows. It joins nothing and writes nothing; both lap lists are printed.
"""

import argparse
import json
import struct
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from measuring import Measurement, measure

_ENGINES = ("ours", "struct loop")
_LAP_S = 89.871
_PHYSICS, _TIMINGS = 0, 3
_SHOWN_LAPS = 3


def main() -> None:
    """Run the benchmark, or one of its parts in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--part", choices=[*_ENGINES, "make"], help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part == "make":
        _make(arguments.file, arguments.minutes, arguments.rate)
    elif arguments.part:
        print(json.dumps((_ours if arguments.part == "ours" else _struct_loop)(arguments.file)))
    else:
        _compare(arguments.minutes, arguments.rate, arguments.rounds)


def _compare(minutes: float, rate: float, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "race.deflate"
        _run("make", file, "--minutes", str(minutes), "--rate", str(rate))
        measured: dict[str, list[Measurement]] = {engine: [] for engine in _ENGINES}
        printed: dict[str, str] = {}
        for _ in range(rounds):
            for engine in _ENGINES:
                measurement, printed[engine] = _run(engine, file)
                measured[engine].append(measurement)
        print(f"{minutes:g} min at {rate:g} Hz: {file.stat().st_size / 1e6:.1f} MB compressed\n")
    print("| engine | CPU s | wall s | peak MB | laps | first lap times |\n| --- | ---: | ---: | ---: | ---: | --- |")
    for engine, results in measured.items():
        cells = [f"{median(getattr(item, name) for item in results):.2f}" for name in ("cpu_s", "wall_s", "peak_mb")]
        laps = json.loads(printed[engine])
        shown = ", ".join(f"{lap:.3f}" for lap in laps[:_SHOWN_LAPS])
        print(f"| {engine} | {' | '.join(cells)} | {len(laps)} | {shown} |")


def _run(part: str, file: Path, *options: str) -> tuple[Measurement, str]:
    command = [sys.executable, str(Path(__file__).resolve()), "--part", part, "--file", str(file), *options]
    return measure(command, file.parent, {})


def _make(file: Path, minutes: float, rate: float) -> None:
    """Write a race of so many minutes, streamed."""
    from apex_pipeline.demo.race_packets import packets  # noqa: PLC0415  -- heavy imports belong in the child processes
    from apex_pipeline.demo.race_script import RACE, Script  # noqa: PLC0415

    script = Script(rate)
    script.begin_session(RACE)
    while len(script.frames) < minutes * 60 * rate:
        script.lap(_LAP_S)
    compressor = zlib.compressobj(1)
    with file.open("wb") as stream:
        for datagram in packets(script.frames):
            stream.write(compressor.compress(struct.pack("<I", len(datagram)) + datagram))
        stream.write(compressor.flush())


def _ours(file: Path) -> list[float]:
    import numpy as np  # noqa: PLC0415  -- as above
    import pyarrow.parquet as pq  # noqa: PLC0415

    from apex_pipeline.sources.ams2.recording import read_recording  # noqa: PLC0415

    with file.open("rb") as stream:
        recording = read_recording(stream)
    for name in ("laps", "samples", "timing"):
        pq.write_table(
            getattr(recording, name), file.with_suffix(f".{name}.parquet"), compression="zstd", row_group_size=65_536
        )
    samples = recording.samples
    fields = [name for name in samples.column_names if name not in {"lap_index", "sample_index", "tick"}]
    laps = samples["lap_index"].to_numpy()
    columns = {name: samples[name].to_numpy(zero_copy_only=False) for name in fields}
    for lap in range(recording.laps.num_rows):
        start, stop = np.searchsorted(laps, [lap, lap + 1])
        array = np.empty(stop - start, [(name, "f8") for name in fields])
        for name in fields:
            array[name] = columns[name][start:stop]
        np.save(file.with_suffix(f".{lap}.npy"), array, allow_pickle=False)
    return [time for time in recording.laps["lap_time_s"].to_pylist() if time is not None]


def _struct_loop(file: Path) -> list[float]:
    content = zlib.decompress(file.read_bytes())
    samples: list[tuple[object, ...]] = []
    laps: dict[int, float] = {}
    for start, size in _datagrams(content):
        kind = content[start + 10]
        if kind == _PHYSICS and size == 559:  # noqa: PLR2004  -- the size of today's game
            fuel, speed = struct.unpack_from("<ff", content, start + 32)
            rpm, _, steering, gear = struct.unpack_from("<HHbB", content, start + 40)
            yaw = struct.unpack_from("<f", content, start + 56)[0]
            x, _, z = struct.unpack_from("<fff", content, start + 542)
            samples.append((content[start + 28 : start + 31], fuel, speed, rpm, steering, gear, yaw, x, z))
        elif kind == _TIMINGS:
            entry = start + 33 + 32 * struct.unpack_from("<H", content, start + 1057)[0]
            distance = struct.unpack_from("<H", content, entry + 12)[0]
            lap, clock = struct.unpack_from("<Bf", content, entry + 21)
            laps[lap] = clock
            samples.append((distance, lap, clock))
    return list(laps.values())[:-1]


def _datagrams(content: bytes) -> Iterator[tuple[int, int]]:
    position = 0
    while position + 4 <= len(content):
        size = struct.unpack_from("<I", content, position)[0]
        yield position + 4, size
        position += 4 + size


if __name__ == "__main__":
    main()
