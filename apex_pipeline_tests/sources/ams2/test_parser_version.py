"""Ties the results of the parser to its version: a race is read again only if the version changes with them."""

import hashlib
import json

from apex_pipeline.demo.race_packets import GENERATIONS, PacketOptions, packets
from apex_pipeline.demo.race_script import planted_race
from apex_pipeline.sources.ams2.recording import PARSER_VERSION
from apex_pipeline_tests.sources.ams2.reading import read, read_blob
from apex_pipeline_tests.sources.ams2.second_writer import Recorder, Writer, packed
from apex_pipeline_tests.sources.ams2.test_second_writer import DRIVES
from apex_pipeline_tests.sources.ams2.wild import wild_recording

# The digest of what each released version makes of the recordings below.
_RESULTS = {"2": "d1c976edd4c7f7c5"}

_NOT_ALWAYS_READ_RIGHT = (167, 386, 796)


def test_results_change_only_together_with_the_version_of_the_parser() -> None:
    recordings = [read(packets(planted_race(10.0).frames, PacketOptions(name))) for name in GENERATIONS]
    recordings += [
        read_blob(packed(Writer(drive, Recorder(generation, marks_player=marks_player)).datagrams(), "zlib"))
        for drive in (DRIVES["restart"], DRIVES["camera away on the line"])
        for generation, marks_player in (("AMS2", True), ("before patch 5", False))
    ]
    recordings += [read_blob(wild_recording(seed).blob) for seed in (*range(3), *_NOT_ALWAYS_READ_RIGHT)]
    digest = hashlib.sha256()
    for recording in recordings:
        for table in (recording.laps, recording.samples, recording.timing):
            digest.update(json.dumps(_rounded(table.to_pydict())).encode())
    assert digest.hexdigest()[:16] == _RESULTS[PARSER_VERSION], (
        "The parser makes something else of a recording than before. Raise PARSER_VERSION, and write the new digest "
        "here, so that `apex race reprocess --outdated` and Dagster read the races again."
    )


def _rounded(value: object) -> object:
    """Return the value with floats to a thousandth: the last digits may differ between machines."""
    if isinstance(value, dict):
        return {name: _rounded(column) for name, column in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, 3) + 0.0 if isinstance(value, float) else value
