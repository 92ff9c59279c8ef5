"""Measures lookups and reads of small objects with alternating engines. Standard library only (see ``measuring``)."""

import os
import sys
import tempfile
from pathlib import Path

from measuring import measure

from transfer_engines.cases import CASES, make_files
from transfer_engines.engines import Engines
from transfer_engines.report import OPERATIONS, LookupRuns
from transfer_engines.running import HERE, log, running_server

_ENGINES = ("ours", "botocore")


def measure_lookups(rounds: int, server_name: str = "seaweedfs") -> LookupRuns:
    """Fill a bucket with the small files, then look them up and read them with each engine in turn."""
    case = CASES["small"]
    with tempfile.TemporaryDirectory(prefix="apex-lookups-") as name, running_server(server_name) as server:
        folder = Path(name, "files").resolve()
        make_files(folder, case)
        target = server.new_target()
        environment = target.environment | {"APEX_STATE_DIR": f"{name}/state"}
        measure(Engines().command("ours", target, folder, Path(name, "state"), 1), HERE, environment)
        results = LookupRuns(case.files, load=os.getloadavg()[0])
        for number in range(rounds):
            for operation in OPERATIONS:
                shift = number % len(_ENGINES)
                for engine in (*_ENGINES[shift:], *_ENGINES[:shift]):
                    command = [sys.executable, "-m", "transfer_engines.lookups", engine, operation]
                    arguments = [target.endpoint, target.bucket, str(folder)]
                    run, _ = measure([*command, *arguments], HERE, environment)
                    results.runs.setdefault((operation, engine), []).append(run)
                    step = f"{operation}, round {number + 1} of {rounds}, {engine}"
                    log(f"{step}: {run.wall_s:.2f} s, {run.cpu_s:.2f} CPU s")
        server.drop(target)
    return results
