"""A running Dagster: webserver, daemon and a code server of this project, asked by GraphQL as the UI does."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

_PROJECT = Path(__file__).resolve().parents[2]
_START_TIMEOUT_S = 300.0
_RUN_TIMEOUT_S = 600.0
_LOCATION = {"repositoryLocationName": "apex_pipeline", "repositoryName": "__repository__"}

_INSTANCE = """\
telemetry: {enabled: false}
nux: {enabled: false}
run_monitoring: {enabled: false}
concurrency: {runs: {max_concurrent_runs: 1}}
"""


class DagsterServer:
    """GraphQL on a running webserver.

    Args:
        url: Its address.
        credentials: ``user:password``, if it asks for them.
    """

    def __init__(self, url: str, credentials: str = "") -> None:
        self._url = url
        encoded = base64.b64encode(credentials.encode()).decode()
        self._headers = {"Authorization": f"Basic {encoded}"} if credentials else {}

    def ask(self, query: str, **variables: object) -> Any:
        """Return the data of a GraphQL reply."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"Content-Type": "application/json", **self._headers}
        request = urllib.request.Request(self._url, body, headers)  # noqa: S310  -- loopback
        with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310  -- as above
            answer = json.load(reply)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def launch(self, job: str, partition: str | None = None, **selection: object) -> str:
        """Launch a run and return its id.

        Args:
            job: Name of the job.
            partition: Its partition.
            selection: Further fields of the selector, such as ``assetSelection``.
        """
        tags = [{"key": "dagster/partition", "value": partition}] if partition else []
        reply = self.ask(
            """mutation($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
            __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }""",
            params={
                "selector": {**_LOCATION, "pipelineName": job, **selection},
                "runConfigData": {},
                "mode": "default",
                "executionMetadata": {"tags": tags},
            },
        )["launchPipelineExecution"]
        assert reply["__typename"] == "LaunchRunSuccess", reply
        return reply["run"]["runId"]

    def finished(self, run_id: str) -> str:
        """Wait for a run and return its status."""
        return self._wait(
            lambda: self.ask("query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }", id=run_id)[
                "runOrError"
            ]["status"],
            {"SUCCESS", "FAILURE", "CANCELED"},
        )

    def failures(self, run_id: str) -> dict[str, str]:
        """Return the description of the failure of each failed step of a run."""
        events = self.ask(
            """query($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events { __typename
            ... on ExecutionStepFailureEvent { stepKey failureMetadata { description } error { message } } } } } }""",
            id=run_id,
        )["logsForRun"]["events"]
        return {
            event["stepKey"]: (event["failureMetadata"] or event["error"]).get("description")
            or event["error"]["message"]
            for event in events
            if event["__typename"] == "ExecutionStepFailureEvent"
        }

    def backfill(self, assets: Sequence[str], partitions: Sequence[str]) -> str:
        """Materialize assets of some partitions, wait for the end and return the status."""
        return self.finished_backfill(self.launch_backfill(assets, partitions))

    def launch_backfill(self, assets: Sequence[str], partitions: Sequence[str]) -> str:
        """Launch the materialization of assets of some partitions, as the UI's dialog does, and return its id."""
        reply = self.ask(
            """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
            __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }""",
            params={"assetSelection": [{"path": asset.split("/")} for asset in assets], "partitionNames": partitions},
        )["launchPartitionBackfill"]
        assert reply["__typename"] == "LaunchBackfillSuccess", reply
        return str(reply["backfillId"])

    def finished_backfill(self, backfill_id: str, timeout_s: float = _RUN_TIMEOUT_S) -> str:
        """Wait for the end of a backfill and return its status."""
        query = (
            "query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"
        )
        return self._wait(
            lambda: self.ask(query, id=backfill_id)["partitionBackfillOrError"]["status"],
            {"COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"},
            timeout_s,
        )

    def wait_until_loaded(self) -> None:
        """Wait until the code location has answered; the webserver notices that by itself."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._has_assets():
            assert time.monotonic() < deadline
            time.sleep(0.5)

    def _has_assets(self) -> bool:
        try:
            return bool(self.assets)
        except OSError:  # the webserver is starting
            return False

    def add_partition(self, key: str) -> None:
        """Add a partition, as the UI does for a key that a user types."""
        reply = self.ask(
            """mutation($key: String!, $location: RepositorySelector!) { addDynamicPartition(
            partitionsDefName: "sessions", partitionKey: $key, repositorySelector: $location) { __typename } }""",
            key=key,
            location=_LOCATION,
        )
        assert reply["addDynamicPartition"]["__typename"] == "AddDynamicPartitionSuccess", reply

    def start_sensor(self, name: str) -> None:
        """Start a sensor, as one click in the UI does."""
        reply = self.ask(
            "mutation($selector: SensorSelector!) { startSensor(sensorSelector: $selector) { __typename } }",
            selector={**_LOCATION, "sensorName": name},
        )
        assert reply["startSensor"]["__typename"] == "Sensor", reply

    def last_tick(self, sensor: str, since: float) -> str:
        """Return why the last finished look of a sensor started nothing; empty if it did, or began earlier."""
        reply = self.ask(
            """query($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) { ... on Sensor {
            sensorState { ticks(limit: 3) { timestamp status skipReason error { message } } } } } }""",
            selector={**_LOCATION, "sensorName": sensor},
        )
        ticks = reply["sensorOrError"]["sensorState"]["ticks"]
        failed = [tick["error"]["message"] for tick in ticks if tick["status"] == "FAILURE"]
        assert not failed, failed
        later = [tick for tick in ticks if tick["timestamp"] > since and tick["status"] != "STARTED"]
        return str(later[0]["skipReason"] or "") if later else ""

    @property
    def assets(self) -> list[str]:
        """The keys of all assets that can be materialized."""
        nodes = self.ask("{ assetNodes { assetKey { path } isMaterializable } }")["assetNodes"]
        return sorted("/".join(node["assetKey"]["path"]) for node in nodes if node["isMaterializable"])

    def materialized(self, asset: str) -> list[str]:
        """Return the partitions of an asset that are materialized."""
        node = self.ask(
            """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
            assetPartitionStatuses { ... on DefaultPartitionStatuses { materializedPartitions } } } } }""",
            key={"path": asset.split("/")},
        )["assetNodeOrError"]
        return sorted(node["assetPartitionStatuses"]["materializedPartitions"])

    def stale(self, partitions: Sequence[str]) -> set[str]:
        """Return what the UI shows as stale or missing: ``asset`` or ``asset session``."""
        nodes = self.ask("{ assetNodes { assetKey { path } isPartitioned isMaterializable } }")["assetNodes"]
        chosen = [node for node in nodes if node["isMaterializable"]]
        of_all = [node["assetKey"] for node in chosen if not node["isPartitioned"]]
        of_one = [node["assetKey"] for node in chosen if node["isPartitioned"]]
        whole = self.ask(
            "query($keys: [AssetKeyInput!]) { assetNodes(assetKeys: $keys) { assetKey { path } staleStatus } }",
            keys=of_all,
        )["assetNodes"]
        single = self.ask(
            """query($keys: [AssetKeyInput!], $partitions: [String!]!) { assetNodes(assetKeys: $keys) {
            assetKey { path } staleStatusByPartition(partitions: $partitions) } }""",
            keys=of_one,
            partitions=partitions,
        )["assetNodes"]
        statuses = {"/".join(node["assetKey"]["path"]): node["staleStatus"] for node in whole} | {
            f"{'/'.join(node['assetKey']['path'])} {partition}": status
            for node in single
            for partition, status in zip(partitions, node["staleStatusByPartition"], strict=True)
        }
        return {name for name, status in statuses.items() if status != "FRESH"}

    def _wait(self, status: Any, final: set[str], timeout_s: float = _RUN_TIMEOUT_S) -> str:
        deadline = time.monotonic() + timeout_s
        while (now := status()) not in final:
            assert time.monotonic() < deadline, now
            time.sleep(0.5)
        return str(now)


@contextmanager
def running_dagster(home: Path, settings: Mapping[str, str]) -> Generator[DagsterServer]:
    """Run webserver and daemon on a Dagster home.

    Args:
        home: The home, created here.
        settings: Environment variables of the project.
    """
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text(_INSTANCE, encoding="utf-8")
    # Webserver and daemon that create the databases at the same moment leave them with two schema versions.
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.get_runs(limit=1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    scripts = Path(sys.executable).parent
    environment = {**os.environ, "DAGSTER_HOME": str(home), "PYTHONPATH": str(_PROJECT), **settings}
    location = ["-w", str(_PROJECT / "workspace.yaml")]
    commands = [
        [str(scripts / "dagster-webserver"), "-p", port, *location],
        [str(scripts / "dagster-daemon"), "run", *location],
    ]
    with (home / "server.log").open("wb") as log:
        # A session of its own, so that the code servers end with it.
        processes = [
            subprocess.Popen(command, env=environment, cwd=home, stdout=log, stderr=log, start_new_session=True)
            for command in commands
        ]
        try:
            server = DagsterServer(f"http://127.0.0.1:{port}/graphql")
            _wait_until_loaded(server, home)
            yield server
        finally:
            for process in processes:
                _stop(process)


def _wait_until_loaded(server: DagsterServer, home: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            if server.assets:
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, (home / "server.log").read_text()[-2000:]
        time.sleep(0.5)


def _stop(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
