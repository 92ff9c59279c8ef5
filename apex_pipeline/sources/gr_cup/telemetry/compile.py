"""Compiles the inner loops of the conversion into their cache, or does nothing if they are there.

Run as ``python -m apex_pipeline.sources.gr_cup.telemetry.compile`` by the installation and by the image, so that no
first load takes 6 to 20 s longer, and not every container compiles for itself. See ``kernels`` for the cache.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from apex_pipeline.sources.base import FileIdentity, FileStatus
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.telemetry.chunks import TelemetryFile
from apex_pipeline.sources.gr_cup.telemetry.convert import convert_telemetry
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.tables.session_key import SessionKey

_KEY = SessionKey("compiling", "R1")
# A loop is compiled when it is first called: one reading per line, a number too long for it, quotes, and lists.
_READINGS = """\
lap,meta_time,telemetry_name,telemetry_value,timestamp,vehicle_id
1,2025-09-06T18:40:00.000Z,speed,100.5,2025-09-06T18:40:00.000Z,GR86-002-2
1,2025-09-06T18:40:01.000Z,speed,101.5,2025-09-06T18:40:01.000Z,GR86-002-2
"""
_LONG = _READINGS.replace("100.5", "100." + 30 * "5")
_QUOTED = _READINGS.replace("speed", '"speed"')
_LISTS = """\
lap,meta_time,timestamp,value,vehicle_id
1,2025-09-06T18:40:00.000Z,2025-09-06T18:40:00.000Z,"[{""name"":""speed"",""value"":100.5}]",GR86-002-2
1,2025-09-06T18:40:01.000Z,2025-09-06T18:40:01.000Z,"[{""name"":""speed"",""value"":101.5}]",GR86-002-2
"""
_MEMORY_BYTES = 1_000_000_000


def compile_loops() -> int:
    """Convert two readings of each format, and return the number of readings."""
    count = 0
    with TemporaryDirectory() as text:
        for content in (_READINGS, _LONG, _QUOTED, _LISTS):
            folder = Path(text)
            path = folder / "R1_telemetry.csv"
            path.write_text(content, encoding="ascii")
            workspace = Workspace(_MEMORY_BYTES, folder / "scratch")
            report = convert_telemetry(_KEY, [_file(path)], None, folder / "telemetry.parquet", workspace)
            count += report.counts.readings_in
    return count


def _file(path: Path) -> TelemetryFile:
    identity = FileIdentity(
        path=path.name,
        size=path.stat().st_size,
        kind=FileKind.TELEMETRY,
        track=_KEY.track,
        track_name=None,
        session=_KEY.session,
        season=None,
        event_code=None,
        version=None,
        rule="compiling",
        evidence=(),
        confidence=1.0,
        status=FileStatus.READY,
        reason=None,
    )
    return TelemetryFile.from_path(path, identity)


if __name__ == "__main__":
    compile_loops()
    sys.stdout.write("The inner loops of telemetry are compiled.\n")
