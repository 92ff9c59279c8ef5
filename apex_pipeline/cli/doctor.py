"""Contains ``apex doctor``; see ops/doctor.py and ops/doctor_s3.py for the checks, in the order they run here."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from apex_pipeline.cli.doctor_dagster import check_dagster
from apex_pipeline.cli.emit import emit, print_line
from apex_pipeline.cli.options import AsJson, settings_for
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.exit_codes import ExitCode
from apex_pipeline.ops.doctor import CheckResult, CheckStatus, check_folder, check_lake, check_machine, failed_check
from apex_pipeline.settings import Settings, setting_sources
from apex_pipeline.storage.factory import open_store

_COLOURS = {CheckStatus.OK: "green", CheckStatus.NOTE: "yellow", CheckStatus.PROBLEM: "red"}


def doctor_command(
    source: Annotated[Path | None, typer.Argument(help="Source folder to check too.", show_default=False)] = None,
    write: Annotated[bool, typer.Option("--write", help="Put a small object into the lake and remove it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check settings, credentials, bucket, clock, disk, memory and Dagster; name the next step for each problem."""
    findings: list[CheckResult] = []
    for finding in _run_checks(source, may_write=write):
        findings.append(finding)
        if not as_json:  # as each check ends: some wait for a network
            _print_finding(finding)
    is_healthy = all(finding.state is not CheckStatus.PROBLEM for finding in findings)
    emit(
        {"is_healthy": is_healthy, "checks": [_facts(finding) for finding in findings]},
        as_json=as_json,
        render=lambda: None,
    )
    raise typer.Exit(ExitCode.OK if is_healthy else ExitCode.BAD_INPUT)


def _facts(finding: CheckResult) -> dict[str, str]:
    return {"check": finding.check, "state": finding.state, "said": finding.message, "remedy": finding.hint}


def _run_checks(source: Path | None, *, may_write: bool) -> Iterator[CheckResult]:
    try:
        settings = settings_for(source)
    except ConfigurationError as error:
        yield failed_check("settings", error)
        return
    yield _settings(settings)
    places = list(_place(settings))
    yield from places
    # The last check shows whether there is a lake to try anything with.
    if places[-1].state is CheckStatus.OK:
        yield from check_lake(open_store(settings, for_writing=False), may_write=may_write)
    yield from check_machine(settings)
    yield check_dagster(settings)


def _settings(settings: Settings) -> CheckResult:
    where = f"S3 bucket {settings.bucket}" if settings.use_s3_data else f"local folder {settings.lake_dir}"
    by_place: dict[str, list[str]] = {}
    for name, place in setting_sources().items():
        by_place.setdefault(place, []).append(name)
    origins = "; ".join(f"{place} sets {', '.join(names)}" for place, names in by_place.items())
    return CheckResult(
        "settings", CheckStatus.OK, f"the lake is the {where}; {origins or 'nothing is set, all defaults hold'}"
    )


def _place(settings: Settings) -> Iterator[CheckResult]:
    if not settings.use_s3_data:
        yield check_folder(settings.lake_dir)
        return
    from apex_pipeline.ops.doctor_s3 import check_bucket  # noqa: PLC0415  -- boto3 only where it is used

    yield from check_bucket(settings, setting_sources())


def _print_finding(finding: CheckResult) -> None:
    joint = " " if finding.message.endswith(".") else ". "
    print_line(f"{finding.state:<8}", style=_COLOURS[finding.state], end="")
    print_line(f" {finding.check}: " + joint.join(part for part in (finding.message, finding.hint) if part))
