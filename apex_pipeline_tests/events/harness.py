"""Helpers for the tests of the shipper: a folder, a bucket and a configuration, and what lies in them afterwards."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apex_pipeline.events.config import EventConfig, event_config
from apex_pipeline.events.journal import Entry, Journal, journal_path
from apex_pipeline.events.report import ShippedFile, ShipReport, ShipStatus
from apex_pipeline.events.ship import ship_once
from apex_pipeline.settings import load_settings
from apex_pipeline_tests.servers.s3_server import S3Bucket

XML = b"<EVENTS><EVENT id='1'><TYPE>lap</TYPE></EVENT></EVENTS>\n"
STAMP = "20250729_161500"
NAME = f"{STAMP}.xml"
KEY = f"xml-events/{NAME}"


@dataclass(frozen=True)
class Harness:
    """A folder and the bucket that it is shipped to.

    Attributes:
        folder: The folder.
        bucket: The bucket.
        endpoint: Address at which the shipper reaches the store.
        state_dir: Folder of the journal.
    """

    folder: Path
    bucket: S3Bucket
    endpoint: str
    state_dir: Path

    def config(self, **settings: Any) -> EventConfig:
        """Return a configuration that neither waits nor pauses, with these settings changed."""
        server = self.bucket.server
        defaults: dict[str, Any] = {
            "event_bucket": self.bucket.name,
            "s3_endpoint_url": self.endpoint,
            "aws_access_key_id": server.access_key_id,
            "aws_secret_access_key": server.secret_access_key,
            "state_dir": self.state_dir,
            "events_settle_s": 0,
            "retry_base_delay": 0,
        }
        return event_config(self.folder, load_settings(**(defaults | settings)))

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the environment of a process that ships to this bucket."""
        python_path = str(Path(__file__).resolve().parents[2])
        settings = {
            **self.bucket.environment,
            "BUCKET_NAME": self.bucket.name,
            "S3_ENDPOINT_URL": self.endpoint,
            "APEX_STATE_DIR": str(self.state_dir),
            "PYTHONPATH": python_path,
        }
        return {**os.environ, **settings, **variables}

    def ship(self, **settings: Any) -> ShipReport:
        """Ship the folder once."""
        return ship_once(self.config(**settings))

    def write(self, name: str, content: bytes = XML) -> Path:
        """Write a file into the folder, as of an hour ago."""
        path = self.folder / name
        path.write_bytes(content)
        past_s = time.time() - 3600
        os.utime(path, (past_s, past_s))
        return path

    def objects(self) -> dict[str, bytes]:
        """Return the content of every object in the bucket."""
        found: dict[str, bytes] = {}
        for key in self.bucket.object_keys():
            with self.bucket.client.get_object(Bucket=self.bucket.name, Key=key)["Body"] as body:
                found[key] = body.read()
        return found

    def metadata(self, key: str) -> dict[str, str]:
        """Return the metadata of an object."""
        return self.bucket.client.head_object(Bucket=self.bucket.name, Key=key)["Metadata"]

    def done(self) -> dict[str, bytes]:
        """Return the content of every file in ``done/``, by its path there."""
        root = self.folder / "done"
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}

    def left(self) -> list[str]:
        """Return the names in the folder, without ``done/``."""
        return sorted(path.name for path in self.folder.iterdir() if path.name != "done")

    def entries(self) -> list[Entry]:
        """Return what the journal says."""
        journal = Journal(journal_path(self.state_dir), self.folder)
        try:
            return journal.entries()
        finally:
            journal.close()


def statuses(report: ShipReport) -> dict[str, ShipStatus]:
    """Return the outcome of each file by its name."""
    return {file.name: file.status for file in report.files}


def only(report: ShipReport) -> ShippedFile:
    """Return the only file of a report."""
    (file,) = report.files
    return file
