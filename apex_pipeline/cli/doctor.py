"""``apex doctor``: whether this machine is ready for a sync, with a fix for everything that is not.

Here belong the order of the looks and the printing. The looks are ``lake/health.py`` and ``lake/bucket_health.py``.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from apex_pipeline.cli.console import console
from apex_pipeline.cli.doctor_dagster import examine_dagster
from apex_pipeline.cli.read import AsJson
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.ops.doctor import CheckResult as Finding
from apex_pipeline.ops.doctor import CheckStatus as State
from apex_pipeline.ops.doctor import check_folder as examine_folder
from apex_pipeline.ops.doctor import check_lake as examine_lake
from apex_pipeline.ops.doctor import check_machine as examine_machine
from apex_pipeline.ops.doctor import failed_check as problem
from apex_pipeline.settings import Settings, load_settings, where_set
from apex_pipeline.storage.opening import open_store

_UNHEALTHY = 2
_COLOURS = {State.OK: "green", State.NOTE: "yellow", State.PROBLEM: "red"}


def doctor_command(
    source: Annotated[Path | None, typer.Argument(help="Source folder to check too.", show_default=False)] = None,
    write: Annotated[bool, typer.Option("--write", help="Put a small object into the lake and remove it.")] = False,  # noqa: FBT002  -- a command-line switch
    as_json: AsJson = False,  # noqa: FBT002  -- a command-line switch
) -> None:
    """Check settings, credentials, bucket, clock, disk, memory and Dagster; say what to do about each problem."""
    findings: list[Finding] = []
    for finding in _examine(source, may_write=write):
        findings.append(finding)
        if not as_json:
            _print(finding)
    is_healthy = all(finding.state is not State.PROBLEM for finding in findings)
    if as_json:
        document = {"is_healthy": is_healthy, "checks": [asdict(finding) for finding in findings]}
        sys.stdout.write(json.dumps(document) + "\n")
    raise typer.Exit(0 if is_healthy else _UNHEALTHY)


def _examine(source: Path | None, *, may_write: bool) -> Iterator[Finding]:
    try:
        settings = load_settings(**({"source_dir": source} if source else {}))
    except ConfigurationError as error:
        yield problem("settings", error)
        return
    yield _settings(settings)
    places = list(_place(settings))
    yield from places
    # The last look tells whether there is a lake to try anything with.
    if places[-1].state is State.OK:
        yield from examine_lake(open_store(settings, for_writing=False), may_write=may_write)
    yield from examine_machine(settings)
    yield examine_dagster(settings)


def _settings(settings: Settings) -> Finding:
    where = f"S3 bucket {settings.bucket}" if settings.use_s3_data else f"local folder {settings.lake_dir}"
    by_place: dict[str, list[str]] = {}
    for name, place in where_set().items():
        by_place.setdefault(place, []).append(name)
    told = "; ".join(f"{place} sets {', '.join(names)}" for place, names in by_place.items())
    return Finding("settings", State.OK, f"the lake is the {where}; {told or 'nothing is set, all defaults hold'}")


def _place(settings: Settings) -> Iterator[Finding]:
    if not settings.use_s3_data:
        yield examine_folder(settings.lake_dir)
        return
    from apex_pipeline.ops.doctor_s3 import check_bucket  # noqa: PLC0415  -- boto3 only where it is used

    yield from check_bucket(settings, where_set())


def _print(finding: Finding) -> None:
    console().print(f"[{_COLOURS[finding.state]}]{finding.state:<8}[/] {finding.check}: ", end="", highlight=False)
    joint = " " if finding.said.endswith(".") else ". "
    said = joint.join(part for part in (finding.said, finding.remedy) if part)
    console().print(said, markup=False, highlight=False, soft_wrap=True)


__all__ = ["doctor_command"]
