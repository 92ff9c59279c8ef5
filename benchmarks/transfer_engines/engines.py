"""The engines of the comparison: how each is found and called. Standard library only (see ``measuring``)."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# Requests on their way at a time, for the engines that are not tried with several.
_AT_A_TIME = "10"
_PART_MIB = "8"
CONCURRENCIES = (4, 8, 10, 16)


@dataclass(frozen=True)
class Place:
    """Where everything goes.

    Attributes:
        endpoint: Address of the server.
        bucket: An empty bucket, or in a second run one that holds all files.
        access_key_id: Key that may write.
        secret_access_key: Its secret.
    """

    endpoint: str
    bucket: str
    access_key_id: str
    secret_access_key: str

    @property
    def environment(self) -> dict[str, str]:
        """What every engine is given beside its command."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_REGION": "us-east-1",
            # No settings of the user's: neither AWS profiles nor rclone's own file.
            "AWS_CONFIG_FILE": "/dev/null",
            "RCLONE_CONFIG": "/dev/null",
        }


@dataclass(frozen=True)
class Engines:
    """The engines there are.

    Attributes:
        tools: Folder in which s5cmd and rclone are looked for first; ``None`` looks beside this Python and on PATH.
    """

    tools: Path | None = None

    def why_not(self, name: str, *, is_second_run: bool) -> str | None:
        """Say why an engine is left out, ``None`` if it is not."""
        if name == "boto3" and is_second_run:
            return "left out, it has no comparison with what is there and would send everything again."
        if name in {"s5cmd", "rclone"} and self._binary(name) is None:
            return "left out, it is not installed (dependency group bench)."
        return None

    def version(self, name: str) -> str | None:
        """Return what the tool calls its version; ``None`` where there is no tool of this name."""
        binary = self._binary(name)
        if binary is None:
            return None
        done = subprocess.run([binary, "version"], capture_output=True, text=True, check=True)
        return done.stdout.split("\n")[0].removeprefix(name).strip().partition("-")[0]

    def command(self, name: str, place: Place, folder: Path, state: Path, concurrency: int) -> list[str]:
        """Return the command that brings a folder into a bucket.

        Args:
            name: Out of :data:`NAMES`.
            place: Where to.
            folder: The files.
            state: Where our engine keeps what it knows.
            concurrency: Requests at a time of boto3.
        """
        if name == "ours":
            module = "apex_pipeline_tests.e2e.copying_child"
            return [sys.executable, "-m", module, place.endpoint, place.bucket, str(folder), str(state)]
        if name == "boto3":
            module = "transfer_engines.plain_boto3"
            return [sys.executable, "-m", module, place.endpoint, place.bucket, str(folder), str(concurrency)]
        rival = _s5cmd if name == "s5cmd" else _rclone
        return [str(self._binary(name)), *rival(place, folder)]

    def _binary(self, name: str) -> str | None:
        beside = Path(sys.executable).parent
        folders = [folder for folder in (self.tools, beside) if folder is not None]
        return next((str(folder / name) for folder in folders if (folder / name).is_file()), shutil.which(name))


def _s5cmd(place: Place, folder: Path) -> list[str]:
    general = ["--endpoint-url", place.endpoint, "--numworkers", _AT_A_TIME]
    # "sync" is "cp" of what differs in size or is newer.
    return [
        *(*general, "sync", "--concurrency", _AT_A_TIME, "--part-size", _PART_MIB),
        *(f"{folder}/", f"s3://{place.bucket}/"),
    ]


def _rclone(place: Place, folder: Path) -> list[str]:
    return [
        *("copy", "--transfers", _AT_A_TIME, "--checkers", _AT_A_TIME, "--s3-upload-concurrency", _AT_A_TIME),
        *("--s3-chunk-size", f"{_PART_MIB}M", "--s3-provider", "Other", "--s3-env-auth", "--s3-region", "us-east-1"),
        *("--s3-endpoint", place.endpoint, "--s3-force-path-style", "--s3-no-check-bucket"),
        *(str(folder), f":s3:{place.bucket}"),
    ]


NAMES = ("ours", "boto3", "s5cmd", "rclone")
