"""A copying that is killed again and again, and what is looked at after every kill.

Here belong the files, the killing and the looking; what is expected is told in ``SoakResult.failures``. The test
``test_kills.py`` does it small, ``benchmarks/kill_soak.py`` in full. The child sends through the fault proxy, which
spoils nothing here but knows what reached the server; the bucket is looked at without it.
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

from apex_pipeline_tests.servers.fault_proxy import FOR_EVER, Exchange, FaultProxy, Request, running_proxy
from apex_pipeline_tests.servers.s3_server import S3Bucket

# As many requests as the store has on their way at a time: a kill may interrupt all of them.
MOST_SENT_AGAIN = 10
_SMALLEST_BYTES = 1_000
# One file has a fifth of all bytes: 200 MB of 1 GB.
_LARGEST_PART = 5
_BLOCK_BYTES = 1 << 20
# The longest time between the byte that is waited for and the kill, so that it hits any moment of a request.
_LONGEST_DELAY_S = 0.05
# Nothing has come in for so long, and nothing is being answered: what the killed process sent is through.
_QUIET_S = 0.1
_LOOK_S = 0.002
# A file of 1 GB takes 20 s; who takes so long does not get on.
_PATIENCE_S = 300

Piece = tuple[str, int]


@dataclass(frozen=True)
class SoakPlan:
    """What is copied, and how often it is killed.

    Attributes:
        files: Number of files.
        total_bytes: Size of all together; one of them has a fifth, the smallest at least 1 KB.
        kills: How often the copying is killed.
        seed: Of the files and of the moments.
    """

    files: int
    total_bytes: int
    kills: int
    seed: int


@dataclass(frozen=True)
class Killed:
    """What a kill left, and what the run after it did about it.

    Attributes:
        after_bytes: Different bytes that had reached the server.
        visible: Objects in the bucket.
        uploads: Uploads in parts that were not finished.
        stored_parts: Parts of these that the server listed.
        sent_again: Parts the next run sent although they had reached the server before.
        stored_sent_again: Those among them that the server had listed.
    """

    after_bytes: int
    visible: int
    uploads: int
    stored_parts: int
    sent_again: int
    stored_sent_again: int


@dataclass
class SoakResult:
    """What became of it.

    Attributes:
        source_bytes: Bytes of all files.
        sent_bytes: Bytes of all bodies that reached the server whole.
        broken: Bodies that broke off in a kill.
        kills: One entry for each kill.
        failures: What is not as promised; empty if all is well.
        wall_s: Seconds all runs took together.
    """

    source_bytes: int
    sent_bytes: int = 0
    broken: int = 0
    kills: list[Killed] = field(default_factory=list[Killed])
    failures: list[str] = field(default_factory=list[str])
    wall_s: float = 0.0


def soak(bucket: S3Bucket, folder: Path, plan: SoakPlan, tell: Callable[[str], None]) -> SoakResult:
    """Copy made files into an empty bucket by processes that are killed, until one may finish.

    Args:
        bucket: An empty bucket.
        folder: An empty folder for files and state.
        plan: How much and how often.
        tell: Told one line for each kill.
    """
    digests = make_files(folder / "source", plan)
    with running_proxy(bucket.server) as proxy:
        return _Soak(bucket, folder, proxy, digests).run(plan, tell)


def make_files(folder: Path, plan: SoakPlan) -> dict[str, str]:
    """Write the files of a plan and return the SHA-256 of each by its name."""
    chance = random.Random(plan.seed)  # noqa: S311  -- files, no secrets
    largest = plan.total_bytes // _LARGEST_PART
    wishes = [largest ** chance.random() for _ in range(plan.files - 1)]
    scale = (plan.total_bytes - largest) / sum(wishes)
    sizes = [largest, *(max(_SMALLEST_BYTES, int(wish * scale)) for wish in wishes)]
    chance.shuffle(sizes)
    folder.mkdir(parents=True)
    return {
        f"f{number:04d}.csv": _write(folder / f"f{number:04d}.csv", size, chance) for number, size in enumerate(sizes)
    }


def _write(path: Path, size: int, chance: random.Random) -> str:
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for start in range(0, size, _BLOCK_BYTES):
            block = chance.randbytes(min(_BLOCK_BYTES, size - start))
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


class _Watch:
    """What reached the server, and whether it is still answering."""

    def __init__(self, proxy: FaultProxy) -> None:
        self._lock = threading.Lock()
        self._answering = 0
        self._last_s = 0.0
        self._sizes: dict[Piece, int] = {}
        self.parts = Counter[Piece]()
        self.requests = 0
        self.sent_bytes = 0
        proxy.inject(self._pass_on, times=FOR_EVER)

    @property
    def different_bytes(self) -> int:
        """Bytes of objects and parts, each counted once."""
        with self._lock:
            return sum(self._sizes.values())

    def wait_until_quiet(self) -> None:
        """Return when nothing comes in and nothing is being answered."""
        while self._answering or time.monotonic() - self._last_s < _QUIET_S:
            time.sleep(_QUIET_S / 10)

    def _pass_on(self, exchange: Exchange) -> None:
        with self._lock:
            self._answering += 1
            self._note(exchange.request)
        try:
            exchange.reply(exchange.ask_server())
        finally:
            with self._lock:
                self._answering -= 1
                self._last_s = time.monotonic()

    def _note(self, request: Request) -> None:
        self._last_s = time.monotonic()
        self.requests += 1
        if request.method == "PUT":
            number = int(parse_qs(request.query).get("partNumber", ["0"])[0])
            piece = (unquote(request.path.rpartition("/")[2]), number)
            self._sizes[piece] = request.length
            self.sent_bytes += request.length
            if number:
                self.parts[piece] += 1


@dataclass(frozen=True)
class _Left:
    """What was there after a kill: names of objects, unfinished uploads, parts listed, and how often each was sent."""

    after_bytes: int
    visible: int
    uploads: int
    listed: frozenset[Piece]
    sent: Counter[Piece]


class _Soak:
    """One soak: starting, killing, looking, judging."""

    def __init__(self, bucket: S3Bucket, folder: Path, proxy: FaultProxy, digests: dict[str, str]) -> None:
        self._bucket = bucket
        self._folder = folder
        self._proxy = proxy
        self._digests = digests
        self._watch = _Watch(proxy)
        self._result = SoakResult(sum(path.stat().st_size for path in (folder / "source").iterdir()))

    def run(self, plan: SoakPlan, tell: Callable[[str], None]) -> SoakResult:
        """Start and kill as often as planned, then let it finish; look at everything in between."""
        left: _Left | None = None
        for after_bytes, delay_s in _moments(plan, self._result.source_bytes):
            self._run_child(after_bytes, delay_s)
            self._judge(left)
            left = self._look()
            tell(f"kill {len(self._result.kills) + 1} after {left.after_bytes:,} bytes: {left.visible} objects there")
        self._run_child(None, 0)
        self._judge(left)
        self._look()
        self._look_at_the_end()
        self._result.sent_bytes, self._result.broken = self._watch.sent_bytes, len(self._proxy.broken)
        return self._result

    def _run_child(self, after_bytes: int | None, delay_s: float) -> None:
        """Run the copying; kill it when so many different bytes, and something of this run, have come in."""
        state = self._folder / "state"
        state.mkdir(exist_ok=True)
        requests, started_s = self._watch.requests, time.monotonic()
        module = "apex_pipeline_tests.e2e.copying_child"
        place = [self._proxy.endpoint, self._bucket.name, str(self._folder / "source"), str(state)]
        with (self._folder / "said").open("w+") as said:
            child = subprocess.Popen([sys.executable, "-m", module, *place], env=self._environment(), stderr=said)
            while after_bytes is not None and child.poll() is None and time.monotonic() - started_s < _PATIENCE_S:
                if self._watch.requests > requests and self._watch.different_bytes >= after_bytes:
                    time.sleep(delay_s)
                    child.kill()
                    after_bytes = None
                time.sleep(_LOOK_S)
            code = child.wait(_PATIENCE_S)
            self._result.wall_s += time.monotonic() - started_s
            self._watch.wait_until_quiet()
            said.seek(0)
            self._expect_end(code, said.read(), is_to_finish=not delay_s)

    def _expect_end(self, code: int, said: str, *, is_to_finish: bool) -> None:
        expected = 0 if is_to_finish else -signal.SIGKILL
        if code != expected:
            self._fail(f"a run ended with exit code {code} instead of {expected}: {said.strip() or 'it said nothing'}")

    def _environment(self) -> dict[str, str]:
        server = self._bucket.server
        keys = {"AWS_ACCESS_KEY_ID": server.access_key_id, "AWS_SECRET_ACCESS_KEY": server.secret_access_key}
        return os.environ | keys

    def _look(self) -> _Left:
        """Compare every object that is visible with its source."""
        visible = self._bucket.object_keys()
        for key in visible:
            if self._stored_digest(key) != self._digests.get(key):
                self._fail(f"{key} was visible and not what the source is, {len(self._result.kills) + 1} kills on")
        uploads = self._bucket.uploads()
        listed = frozenset(piece for key, upload in uploads for piece in self._parts_of(key, upload))
        return _Left(self._watch.different_bytes, len(visible), len(uploads), listed, self._watch.parts.copy())

    def _parts_of(self, key: str, upload: str) -> list[Piece]:
        pages = self._bucket.client.get_paginator("list_parts")
        found = pages.paginate(Bucket=self._bucket.name, Key=key, UploadId=upload)
        return [(key, part.get("PartNumber", 0)) for page in found for part in page.get("Parts", [])]

    def _judge(self, left: _Left | None) -> None:
        """Note what the run after a kill sent once more."""
        if left is None:
            return
        again = {piece for piece in left.sent if self._watch.parts[piece] > left.sent[piece]}
        killed = Killed(
            left.after_bytes, left.visible, left.uploads, len(left.listed), len(again), len(again & left.listed)
        )
        self._result.kills.append(killed)
        number = len(self._result.kills)
        if killed.sent_again > MOST_SENT_AGAIN:
            self._fail(f"after kill {number} {killed.sent_again} parts were sent again, more than were on their way")
        if killed.stored_sent_again:
            self._fail(f"after kill {number} {killed.stored_sent_again} parts were sent again that the server had")

    def _look_at_the_end(self) -> None:
        missing = sorted(set(self._digests) - set(self._bucket.object_keys()))
        if missing:
            self._fail(f"{len(missing)} files are not in the bucket: {', '.join(missing[:5])}")
        if uploads := self._bucket.uploads():
            self._fail(f"{len(uploads)} uploads in parts were left behind")

    def _stored_digest(self, key: str) -> str:
        digest = hashlib.sha256()
        with closing(self._bucket.client.get_object(Bucket=self._bucket.name, Key=key)["Body"]) as body:
            for block in body.iter_chunks(_BLOCK_BYTES):
                digest.update(block)
        return digest.hexdigest()

    def _fail(self, problem: str) -> None:
        self._result.failures.append(problem)


def _moments(plan: SoakPlan, total_bytes: int) -> list[tuple[int, float]]:
    """Return after how many different bytes, and how much later, each kill comes: one at random in each equal share."""
    chance = random.Random(plan.seed + 1)  # noqa: S311  -- moments, no secrets
    share = total_bytes / (plan.kills + 1)
    return [
        (int(share * (number + chance.random())), chance.uniform(0.001, _LONGEST_DELAY_S))
        for number in range(plan.kills)
    ]
