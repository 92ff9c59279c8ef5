"""Kills a copy process repeatedly and checks the bucket after each kill.

``SoakResult.failures`` lists every violated guarantee. ``test_kills.py`` runs a small soak test,
``benchmarks/kill_soak.py`` a full one. The child sends through the fault proxy, which injects no fault here but counts
the requests that reached the server; the bucket is checked without the proxy.
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote

from apex_pipeline_tests.servers.fault_proxy import FOREVER, Exchange, FaultProxy, Request, running_proxy
from apex_pipeline_tests.servers.s3_server import S3Bucket

# Maximum requests in flight: a kill may interrupt all of them.
MOST_SENT_AGAIN = 10
_SMALLEST_BYTES = 1_000
# The largest file contains a fifth of all bytes: 200 MB of 1 GB.
_LARGEST_DIVISOR = 5
_BLOCK_BYTES = 1 << 20
# Maximum delay between reaching the byte count and the kill, so that kills hit every phase of a request.
_LONGEST_DELAY_S = 0.05
# After this long with no new or pending requests, everything the killed process sent has arrived.
_QUIET_S = 0.1
_POLL_S = 0.002
# Copying 1 GB takes 20 s; a run that takes this long is hung.
_TIMEOUT_S = 300

# Key and part number; part 0 is a whole object.
PartKey = tuple[str, int]


@dataclass(frozen=True)
class SoakPlan:
    """The size of a soak test.

    Attributes:
        files: Number of files.
        total_bytes: Total size of the files; the largest file gets a fifth of it, the smallest at least 1 KB.
        kills: Number of times to kill the copy process.
        seed: Random seed for the files and the kill times.
    """

    files: int
    total_bytes: int
    kills: int
    seed: int


@dataclass(frozen=True)
class KillRecord:
    """The state of the bucket after a kill, and the parts that the next run resent.

    Attributes:
        after_bytes: Distinct bytes that had reached the server.
        visible: Number of objects in the bucket.
        uploads: Number of incomplete multipart uploads.
        stored_parts: Number of uploaded parts that the server listed for them.
        sent_again: Number of parts that the next run resent although they had already reached the server.
        stored_sent_again: Number of resent parts that the server had listed.
    """

    after_bytes: int
    visible: int
    uploads: int
    stored_parts: int
    sent_again: int
    stored_sent_again: int


@dataclass
class SoakResult:
    """The result of a soak test.

    Attributes:
        source_bytes: Total size of the files.
        sent_bytes: Total size of the request bodies that reached the server in full.
        broken: Number of request bodies cut off by a kill.
        kills: One record for each kill.
        failures: Violated guarantees; empty if the test passed.
        wall_s: Total duration of all runs in seconds.
    """

    source_bytes: int
    sent_bytes: int = 0
    broken: int = 0
    kills: list[KillRecord] = field(default_factory=list[KillRecord])
    failures: list[str] = field(default_factory=list[str])
    wall_s: float = 0.0


def soak(bucket: S3Bucket, folder: Path, plan: SoakPlan, report: Callable[[str], None]) -> SoakResult:
    """Copy generated files into a bucket in processes that are killed; only the last one runs to completion.

    Args:
        bucket: An empty bucket.
        folder: An empty folder for files and state.
        plan: Number and size of the files, and number of kills.
        report: Called with one line for each kill.
    """
    digests = write_files(folder / "source", plan)
    with running_proxy(bucket.server) as proxy:
        return _Soak(bucket, folder, proxy, digests).run(plan, report)


def write_files(folder: Path, plan: SoakPlan) -> dict[str, str]:
    """Write the files of a plan and return their SHA-256 digests by file name."""
    rng = random.Random(plan.seed)  # noqa: S311  -- test data, not secrets
    largest = plan.total_bytes // _LARGEST_DIVISOR
    weights = [largest ** rng.random() for _ in range(plan.files - 1)]
    scale = (plan.total_bytes - largest) / sum(weights)
    sizes = [largest, *(max(_SMALLEST_BYTES, int(weight * scale)) for weight in weights)]
    rng.shuffle(sizes)
    folder.mkdir(parents=True)
    return {f"f{number:04d}.csv": _write(folder / f"f{number:04d}.csv", size, rng) for number, size in enumerate(sizes)}


def _write(path: Path, size: int, rng: random.Random) -> str:
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for start in range(0, size, _BLOCK_BYTES):
            block = rng.randbytes(min(_BLOCK_BYTES, size - start))
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


class _RequestMonitor:
    """Counts the requests that reach the server and tracks those still in flight."""

    def __init__(self, proxy: FaultProxy) -> None:
        self._lock = threading.Lock()
        self._in_flight = 0
        self._last_s = 0.0
        self._sizes: dict[PartKey, int] = {}
        self.parts = Counter[PartKey]()
        self.requests = 0
        self.sent_bytes = 0
        proxy.inject(self._forward, times=FOREVER)

    @property
    def distinct_bytes(self) -> int:
        """Bytes of distinct objects and parts: resent ones count once."""
        with self._lock:
            return sum(self._sizes.values())

    def wait_until_quiet(self) -> None:
        """Wait until no request arrives and none is in flight."""
        while self._in_flight or time.monotonic() - self._last_s < _QUIET_S:
            time.sleep(_QUIET_S / 10)

    def _forward(self, exchange: Exchange) -> None:
        with self._lock:
            self._in_flight += 1
            self._count(exchange.request)
        try:
            exchange.reply(exchange.ask_server())
        finally:
            with self._lock:
                self._in_flight -= 1
                self._last_s = time.monotonic()

    def _count(self, request: Request) -> None:
        self._last_s = time.monotonic()
        self.requests += 1
        if request.method == "PUT":
            number = int(parse_qs(request.query).get("partNumber", ["0"])[0])
            part = (unquote(request.path.rpartition("/")[2]), number)
            self._sizes[part] = request.length
            self.sent_bytes += request.length
            if number:
                self.parts[part] += 1


@dataclass(frozen=True)
class _BucketState:
    """The bucket after a kill: object count, incomplete-upload count, listed parts, and number of sends per part."""

    after_bytes: int
    visible: int
    uploads: int
    listed: frozenset[PartKey]
    sent: Counter[PartKey]


class _Soak:
    """One soak test: starts and kills the copy process, and checks the bucket in between."""

    def __init__(self, bucket: S3Bucket, folder: Path, proxy: FaultProxy, digests: dict[str, str]) -> None:
        self._bucket = bucket
        self._folder = folder
        self._proxy = proxy
        self._digests = digests
        self._monitor = _RequestMonitor(proxy)
        self._result = SoakResult(sum(path.stat().st_size for path in (folder / "source").iterdir()))

    def run(self, plan: SoakPlan, report: Callable[[str], None]) -> SoakResult:
        """Start and kill the copy process as planned, then let it finish; check the bucket after each run."""
        state: _BucketState | None = None
        for after_bytes, delay_s in _kill_times(plan, self._result.source_bytes):
            self._run_child(after_bytes, delay_s)
            self._record_kill(state)
            state = self._check_bucket()
            number = len(self._result.kills) + 1
            report(f"kill {number} after {state.after_bytes:,} bytes: {state.visible} objects in the bucket")
        self._run_child(None, 0)
        self._record_kill(state)
        self._check_bucket()
        self._check_end_state()
        self._result.sent_bytes, self._result.broken = self._monitor.sent_bytes, len(self._proxy.broken)
        return self._result

    def _run_child(self, after_bytes: int | None, delay_s: float) -> None:
        """Run the copy process; kill it once ``after_bytes`` distinct bytes and a request of this run have arrived."""
        state = self._folder / "state"
        state.mkdir(exist_ok=True)
        requests, started_s = self._monitor.requests, time.monotonic()
        module = "apex_pipeline_tests.e2e.copying_child"
        arguments = [self._proxy.endpoint, self._bucket.name, str(self._folder / "source"), str(state)]
        with (self._folder / "stderr").open("w+") as stderr:
            child = subprocess.Popen([sys.executable, "-m", module, *arguments], env=self._environment(), stderr=stderr)
            while after_bytes is not None and child.poll() is None and time.monotonic() - started_s < _TIMEOUT_S:
                if self._monitor.requests > requests and self._monitor.distinct_bytes >= after_bytes:
                    time.sleep(delay_s)
                    child.kill()
                    after_bytes = None
                time.sleep(_POLL_S)
            code = child.wait(_TIMEOUT_S)
            self._result.wall_s += time.monotonic() - started_s
            self._monitor.wait_until_quiet()
            stderr.seek(0)
            self._check_exit_code(code, stderr.read(), is_to_finish=not delay_s)

    def _check_exit_code(self, code: int, stderr: str, *, is_to_finish: bool) -> None:
        expected = 0 if is_to_finish else -signal.SIGKILL
        if code != expected:
            self._fail(f"a run ended with exit code {code} instead of {expected}: {stderr.strip() or 'no output'}")

    def _environment(self) -> dict[str, str]:
        server = self._bucket.server
        keys = {"AWS_ACCESS_KEY_ID": server.access_key_id, "AWS_SECRET_ACCESS_KEY": server.secret_access_key}
        return os.environ | keys

    def _check_bucket(self) -> _BucketState:
        """Compare every visible object with its source, and return the state of the bucket."""
        visible = self._bucket.object_keys()
        for key in visible:
            if self._stored_digest(key) != self._digests.get(key):
                self._fail(f"{key} was visible but differed from its source after {len(self._result.kills) + 1} kills")
        uploads = self._bucket.uploads()
        listed = frozenset(part for key, upload in uploads for part in self._parts_of(key, upload))
        return _BucketState(
            self._monitor.distinct_bytes, len(visible), len(uploads), listed, self._monitor.parts.copy()
        )

    def _parts_of(self, key: str, upload: str) -> list[PartKey]:
        pages = self._bucket.client.get_paginator("list_parts")
        found = pages.paginate(Bucket=self._bucket.name, Key=key, UploadId=upload)
        return [(key, part.get("PartNumber", 0)) for page in found for part in page.get("Parts", [])]

    def _record_kill(self, state: _BucketState | None) -> None:
        """Record a kill and the parts resent by the run after it; ``state`` is the bucket after the kill."""
        if state is None:
            return
        again = {part for part in state.sent if self._monitor.parts[part] > state.sent[part]}
        record = KillRecord(
            state.after_bytes, state.visible, state.uploads, len(state.listed), len(again), len(again & state.listed)
        )
        self._result.kills.append(record)
        number = len(self._result.kills)
        if record.sent_again > MOST_SENT_AGAIN:
            self._fail(f"after kill {number}, {record.sent_again} parts were sent again, more than were in flight")
        if record.stored_sent_again:
            self._fail(f"after kill {number}, {record.stored_sent_again} parts stored by the server were sent again")

    def _check_end_state(self) -> None:
        missing = sorted(set(self._digests) - set(self._bucket.object_keys()))
        if missing:
            self._fail(f"{len(missing)} files are not in the bucket: {', '.join(missing[:5])}")
        if uploads := self._bucket.uploads():
            self._fail(f"{len(uploads)} incomplete uploads were left behind")

    def _stored_digest(self, key: str) -> str:
        digest = hashlib.sha256()
        with closing(self._bucket.client.get_object(Bucket=self._bucket.name, Key=key)["Body"]) as body:
            for block in body.iter_chunks(_BLOCK_BYTES):
                digest.update(block)
        return digest.hexdigest()

    def _fail(self, problem: str) -> None:
        self._result.failures.append(problem)


def _kill_times(plan: SoakPlan, total_bytes: int) -> list[tuple[int, float]]:
    """Return when to kill, as distinct bytes sent plus a delay in seconds: one random point in each equal share."""
    rng = random.Random(plan.seed + 1)  # noqa: S311  -- kill times, not secrets
    share = total_bytes / (plan.kills + 1)
    return [
        (int(share * (number + rng.random())), rng.uniform(0.001, _LONGEST_DELAY_S)) for number in range(plan.kills)
    ]
