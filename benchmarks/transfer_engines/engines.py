"""Finds the engines of the comparison and builds their commands. Standard library only (see ``measuring``)."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# Concurrent requests of the engines for which only one number is tried.
_CONCURRENCY = "10"
_PART_MIB = "8"
CONCURRENCIES = (4, 8, 10, 16)


@dataclass(frozen=True)
class Target:
    """Target of a copy.

    Attributes:
        endpoint: Address of the server.
        bucket: An empty bucket; in a second run, one that holds all files.
        access_key_id: Key with write access.
        secret_access_key: Secret of the key.
    """

    endpoint: str
    bucket: str
    access_key_id: str
    secret_access_key: str

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of every engine."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_REGION": "us-east-1",
            "S3_ENDPOINT_URL": self.endpoint,
            # Ignores the settings of the user: AWS profiles and the configuration of rclone.
            "AWS_CONFIG_FILE": "/dev/null",
            "RCLONE_CONFIG": "/dev/null",
        }


@dataclass(frozen=True)
class Engines:
    """The available engines.

    Attributes:
        tools: Folder that is searched first for s5cmd and rclone; ``None`` searches next to this Python and on PATH.
    """

    tools: Path | None = None

    def exclusion_reason(self, name: str, *, is_second_run: bool) -> str | None:
        """Return why an engine is left out, or ``None`` if it runs."""
        if name == "boto3" and is_second_run:
            return "left out, it does not compare with existing objects and would send everything again."
        if name in {"s5cmd", "rclone"} and self._binary(name) is None:
            return "left out, it is not installed (dependency group bench)."
        return None

    def version(self, name: str) -> str | None:
        """Return the version of a tool; ``None`` if it is not installed."""
        binary = self._binary(name)
        if binary is None:
            return None
        process = subprocess.run([binary, "version"], capture_output=True, text=True, check=True)
        return process.stdout.split("\n")[0].removeprefix(name).strip().partition("-")[0]

    def command(self, name: str, target: Target, folder: Path, state: Path, concurrency: int) -> list[str]:
        """Return the command that copies a folder to a bucket.

        Args:
            name: A name from :data:`NAMES`.
            target: Target of the copy.
            folder: Folder of the files.
            state: State folder of our engine; the command gets it by the environment.
            concurrency: Concurrent requests of boto3.
        """
        if name == "ours":
            module = "apex_pipeline_tests.e2e.copying_child"
            return [sys.executable, "-m", module, target.endpoint, target.bucket, str(folder), str(state)]
        if name == "upload":
            command = [sys.executable, "-m", "apex_pipeline", "upload", str(folder)]
            return [*command, "--bucket", target.bucket, "--prefix", ""]
        if name == "boto3":
            module = "transfer_engines.plain_boto3"
            return [sys.executable, "-m", module, target.endpoint, target.bucket, str(folder), str(concurrency)]
        arguments_of = _s5cmd if name == "s5cmd" else _rclone
        return [str(self._binary(name)), *arguments_of(target, folder)]

    def _binary(self, name: str) -> str | None:
        next_to_python = Path(sys.executable).parent
        folders = [folder for folder in (self.tools, next_to_python) if folder is not None]
        return next((str(folder / name) for folder in folders if (folder / name).is_file()), shutil.which(name))


def _s5cmd(target: Target, folder: Path) -> list[str]:
    general = ["--endpoint-url", target.endpoint, "--numworkers", _CONCURRENCY]
    # "sync" copies only files that differ in size or are newer.
    return [
        *(*general, "sync", "--concurrency", _CONCURRENCY, "--part-size", _PART_MIB),
        *(f"{folder}/", f"s3://{target.bucket}/"),
    ]


def _rclone(target: Target, folder: Path) -> list[str]:
    return [
        *("copy", "--transfers", _CONCURRENCY, "--checkers", _CONCURRENCY, "--s3-upload-concurrency", _CONCURRENCY),
        *("--s3-chunk-size", f"{_PART_MIB}M", "--s3-provider", "Other", "--s3-env-auth", "--s3-region", "us-east-1"),
        *("--s3-endpoint", target.endpoint, "--s3-force-path-style", "--s3-no-check-bucket"),
        *(str(folder), f":s3:{target.bucket}"),
    ]


# Our engine alone, as a sync calls it; the command ``apex upload`` as people run it; and the others.
NAMES = ("ours", "upload", "boto3", "s5cmd", "rclone")
