"""Measures how long Dagster's pages take with thousands of sessions, and takes pictures of them.

    .venv/bin/python -m benchmarks.many_partitions --partitions 2000 --pictures docs/ui

fills a home with the materializations of a few assets of every session, starts code server and webserver, and opens the
pages in Chromium, which it controls over its debugging port (``websockets`` and a ``chromium`` on the path). A page is
open when its text has appeared. The results go to ``benchmarks/results/many_partitions.md``.
"""

import argparse
import asyncio
import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from apex_pipeline.orchestration.instance import prepare_dagster_home
from apex_pipeline.settings import DEFAULT_MEMORY_LIMIT
from apex_pipeline_tests.e2e.machine import Machine
from apex_pipeline_tests.orchestration.dagster_server import DagsterServer
from apex_pipeline_tests.orchestration.lake_runs import ROLL_UPS
from apex_pipeline_tests.orchestration.services import Services
from apex_pipeline_tests.servers.s3_server import free_ports

_RESULTS = Path(__file__).resolve().parent / "results"
_TRACKS = ("barber", "cota", "daytona", "fuji", "imola", "indianapolis", "jerez", "le-mans", "monza", "sebring", "spa")
# Those whose pages are opened, and those around them.
_ASSETS = ("lake/files", "lake/session", "tables/laps", "lake/published")
_WIDTH, _HEIGHT = 1440, 900
_TIMEOUT_S = 180.0
# Each page, and a text that it shows only once its data have arrived.
_PAGES = {
    "lineage": ("/asset-groups", ["Materialize all", "published"]),
    "asset": ("/assets/tables/laps?view=partitions", ["spa/R"]),
}


@dataclass(frozen=True)
class _Opened:
    """How long a page took, in seconds."""

    name: str
    scheme: str
    seconds: float


def main() -> int:
    """Measure and take the pictures."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="apex-partitions-", dir=arguments.folder) as name:
        folder = Path(name)
        lake = {"APEX_LAKE_DIR": str(folder / "lake"), "APEX_SOURCE_DIR": str(folder / "source")}
        machine = Machine(folder / "machine", lake)
        home = prepare_dagster_home(Path(machine.environment["DAGSTER_HOME"]), DEFAULT_MEMORY_LIMIT)
        events = _fill(home, arguments.partitions)
        with Services(machine.folder, machine.environment, has_webserver=True) as services, _chromium(folder) as port:
            services.start()
            server = DagsterServer(services.url)
            server.wait_until_loaded()
            pages = [
                asyncio.run(_open(port, services.url.removesuffix("/graphql"), name, scheme, arguments))
                for scheme, name in itertools.product(("light", "dark"), _PAGES)
            ]
    report = _markdown(arguments.partitions, events, pages)
    print(report)
    (_RESULTS / "many_partitions.md").write_text(report, encoding="utf-8")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--partitions", type=int, default=2_000, help="number of sessions; default 2000")
    parser.add_argument("--pictures", type=Path, help="where the pictures go; none by default")
    parser.add_argument("--folder", type=Path, help="where everything is kept meanwhile; default: the temporary folder")
    return parser.parse_args()


def _fill(home: Path, count: int) -> int:
    """Add the partitions, each with a materialization of the assets, and return the number of events."""
    keys = [f"{_TRACKS[number % len(_TRACKS)]}/R{number // len(_TRACKS) + 1}" for number in range(count)]
    assets = [dg.AssetKey(asset.split("/")) for asset in _ASSETS]
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.add_dynamic_partitions("sessions", keys)
        for key, asset in itertools.product(keys, assets):
            metadata = {"dagster/partition_row_count": 40}
            instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=key, metadata=metadata))
        for roll_up in (*ROLL_UPS, "catalog/manifest"):
            instance.report_runless_asset_event(dg.AssetMaterialization(dg.AssetKey(roll_up.split("/"))))
    return len(keys) * len(assets)


@contextmanager
def _chromium(folder: Path) -> Generator[int]:
    """Run a browser without a window, and provide its debugging port."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    if binary is None:
        raise SystemExit("Chromium was not found.")
    (port,) = free_ports(1)
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    options += [f"--remote-debugging-port={port}", f"--window-size={_WIDTH},{_HEIGHT}", "about:blank"]
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen([binary, *options], stdout=log, stderr=log)
        try:
            yield port
        finally:
            process.terminate()
            process.wait(30)


async def _open(port: int, server: str, name: str, scheme: str, arguments: argparse.Namespace) -> _Opened:
    """Open a page in a new tab, wait for its text, and take its picture."""
    import websockets  # noqa: PLC0415  # pyright: ignore[reportMissingImports]  -- installed only for this

    path, texts = _PAGES[name]
    wanted = [text.format(partitions=arguments.partitions) for text in texts]
    async with websockets.connect(_new_tab(port), max_size=None) as socket:
        tab = _Tab(socket)
        await tab.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        await tab.ask(
            "Emulation.setDeviceMetricsOverride", width=_WIDTH, height=_HEIGHT, deviceScaleFactor=1, mobile=False
        )
        started_s = time.monotonic()
        await tab.ask("Page.navigate", url=server + path)
        while missing := await tab.missing(wanted):
            if time.monotonic() - started_s > _TIMEOUT_S:
                raise SystemExit(f"{path} did not show {missing} within {_TIMEOUT_S:.0f} s.")
            await asyncio.sleep(0.1)
        seconds = time.monotonic() - started_s
        await asyncio.sleep(8)  # until the last drawing has faded in
        if arguments.pictures:
            shot = await tab.ask("Page.captureScreenshot", format="png")
            target = arguments.pictures / f"{arguments.partitions}-{name}-{scheme}.png"
            target.write_bytes(base64.b64decode(shot["data"]))
    return _Opened(name, scheme, seconds)


def _new_tab(port: int) -> str:
    deadline_s = time.monotonic() + _TIMEOUT_S
    request = urllib.request.Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT")
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310  -- loopback
                return str(json.load(reply)["webSocketDebuggerUrl"])
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.3)


class _Tab:
    """A tab of the browser.

    Args:
        socket: Its debugging connection.
    """

    def __init__(self, socket: Any) -> None:  # noqa: ANN401  -- the library is not installed where types are checked
        self._socket = socket
        self._count = itertools.count(1)

    async def ask(self, method: str, **parameters: object) -> Any:  # noqa: ANN401  -- JSON
        """Call a method and return its result."""
        number = next(self._count)
        await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(await self._socket.recv())
            if answer.get("id") == number:
                return answer.get("result", {})

    async def missing(self, texts: Sequence[str]) -> list[str]:
        """Return which of these texts the page does not show."""
        found = await self.ask("Runtime.evaluate", expression="document.body ? document.body.innerText : ''")
        shown = str(found.get("result", {}).get("value", ""))
        return [text for text in texts if text not in shown]


def _markdown(partitions: int, events: int, pages: list[_Opened]) -> str:
    head = (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}: {partitions:,} sessions with {events:,} materializations, "
        f"{os.cpu_count()} processors with a load of {os.getloadavg()[1]:.0f}."
    )
    rows = ["| page | theme | seconds until it shows its data |", "| --- | --- | ---: |"]
    rows += [f"| {page.name} | {page.scheme} | {page.seconds:.1f} |" for page in pages]
    return "\n\n".join(["# Pages with many sessions", head, "\n".join(rows)]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
