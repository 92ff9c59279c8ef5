"""A Chromium without a screen, driven by its DevTools protocol: pages at any width, light or dark, without a network.

Its window is never narrower than 500 px, so a narrow page needs the metrics of a device, not a small window.
"""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from websockets.sync.client import ClientConnection, connect

# Debian's name, and that of other systems.
_NAMES = ("chromium", "chromium-browser", "google-chrome")
# A cold start on a machine with seven other workers takes 8 s.
_STARTS_S = 60.0
_ANSWERS_S = 60.0
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_MISSING = "Chromium is missing: install Debian's package `chromium`."
# Set where a browser was installed for the tests, as in the workflow: then a missing one is a failure.
_REQUIRED = "APEX_REQUIRE_BROWSER"

Scheme = Literal["light", "dark"]


class Page:
    """One tab, which has no network.

    Attributes:
        requests: Addresses that were asked for, other than pages that were opened.
        problems: What the console said: errors, warnings and exceptions.

    Args:
        connection: To the tab.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._number = 0
        self._is_loaded = False
        self._opened: set[str] = set()
        self.requests: list[str] = []
        self.problems: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        self.ask("Network.emulateNetworkConditions", **offline)

    def ask(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send a command and return its answer."""
        self._number += 1
        self._connection.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = self._receive()
            if message.get("id") == self._number:
                assert "error" not in message, (method, message)
                return message["result"]

    def open(self, path: Path, width: int, scheme: Scheme = "light", height: int = 900) -> None:
        """Open a file as a device of this width shows it, in CSS pixels."""
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.ask("Emulation.setTouchEmulationEnabled", enabled=width < 600, maxTouchPoints=2)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self._is_loaded = False
        self._opened.add(path.as_uri())
        self.ask("Page.navigate", url=path.as_uri())
        while not self._is_loaded:
            self._receive()
        # Two frames, so that what waits for the first layout has been drawn.
        self.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def value(self, expression: str) -> Any:
        """Return the value of an expression in the page; of a promise when it is settled."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press the mouse at one place of the window, move, and release it at another."""
        steps = [("mouseMoved", start), ("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)]
        for kind, (x, y) in steps:
            button = "none" if kind == "mouseMoved" and (x, y) == start else "left"
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=1)

    def touch(self, *moments: list[tuple[float, float]]) -> None:
        """Put fingers on the window at the first places, move them on, and lift them."""
        for at, fingers in enumerate(moments):
            points = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(fingers)]
            self.ask("Input.dispatchTouchEvent", type="touchMove" if at else "touchStart", touchPoints=points)
        self.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def screenshot(self, target: Path) -> None:
        """Write a picture of the whole page as PNG."""
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        answer = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        target.write_bytes(base64.b64decode(answer["data"]))

    def print(self) -> bytes:
        """Return the page as it is printed, as PDF."""
        return base64.b64decode(self.ask("Page.printToPDF", printBackground=False)["data"])

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._connection.recv(timeout=_ANSWERS_S))
        event, parameters = message.get("method"), message.get("params", {})
        if event == "Page.loadEventFired":
            self._is_loaded = True
        elif event == "Network.requestWillBeSent":
            address = parameters["request"]["url"]
            # What is written in the page itself is no request.
            if address not in self._opened and not address.startswith("data:"):
                self.requests.append(address)
        elif problem := _problem(event, parameters):
            self.problems.append(problem)
        return message


def _problem(event: str | None, parameters: Mapping[str, Any]) -> str:
    if event == "Runtime.exceptionThrown":
        return str(parameters["exceptionDetails"])
    if event == "Runtime.consoleAPICalled" and parameters["type"] in {"error", "warning", "assert"}:
        return str(parameters["args"])
    if event == "Log.entryAdded" and parameters["entry"]["level"] in {"error", "warning"}:
        return str(parameters["entry"])
    return ""


@contextmanager
def chromium_page(folder: Path) -> Generator[Page]:
    """Start Chromium with its profile in a folder, and yield its tab.

    Raises:
        FileNotFoundError: It is not installed.
    """
    program = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if program is None and not os.environ.get(_REQUIRED):
        pytest.skip(_MISSING)
    if program is None:
        raise FileNotFoundError(_MISSING)
    arguments = [
        *(program, "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={folder / 'profile'}"),
        # Tests run in containers, whose kernel has no user namespaces and a small /dev/shm; the pages are our own.
        *("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run", "--disable-extensions"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
        "about:blank",
    ]
    log = (folder / "chromium.log").open("wb")
    process = subprocess.Popen(arguments, stdout=log, stderr=log, env={**os.environ, "HOME": str(folder)})
    try:
        with connect(_address(folder, process), max_size=_MAX_MESSAGE_BYTES, proxy=None) as browser:
            target = _first_tab(browser)
        port = _port(folder)
        address = f"ws://127.0.0.1:{port}/devtools/page/{target}"
        with connect(address, max_size=_MAX_MESSAGE_BYTES, proxy=None) as connection:
            yield Page(connection)
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def _address(folder: Path, process: "subprocess.Popen[bytes]") -> str:
    """Return the address of the browser, which it writes into its profile when it is ready."""
    file = folder / "profile" / "DevToolsActivePort"
    deadline = time.monotonic() + _STARTS_S
    while not (file.exists() and file.read_text().count("\n") >= 1):
        assert process.poll() is None, (folder / "chromium.log").read_text(errors="replace")[-2000:]
        assert time.monotonic() < deadline, "Chromium did not start within a minute."
        time.sleep(0.05)
    port, path = file.read_text().split("\n")[:2]
    return f"ws://127.0.0.1:{port}{path}"


def _port(folder: Path) -> str:
    return (folder / "profile" / "DevToolsActivePort").read_text().split("\n")[0]


def _first_tab(browser: ClientConnection) -> str:
    browser.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
    while True:
        message = json.loads(browser.recv(timeout=_ANSWERS_S))
        if message.get("id") == 1:
            tabs = [target for target in message["result"]["targetInfos"] if target["type"] == "page"]
            return tabs[0]["targetId"]
