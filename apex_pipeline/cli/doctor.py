"""Implements ``apex doctor``; see ops/doctor.py and ops/doctor_s3.py for the checks, in the order they run here."""

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
    source: Annotated[
        Path | None, typer.Argument(metavar="[SOURCE]", help="Source folder to check too.", show_default=False)
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Write a small object to the lake and remove it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check settings, credentials, bucket, clock, disk, memory and Dagster; name the next step of each problem."""
    results: list[CheckResult] = []
    for result in _run_checks(source, may_write=write):
        results.append(result)
        if not as_json:  # printed as each check ends, because some wait for the network
            _print_result(result)
    is_healthy = all(result.state is not CheckStatus.PROBLEM for result in results)
    emit(
        {"is_healthy": is_healthy, "checks": [_facts(result) for result in results]},
        as_json=as_json,
        render=lambda: None,
    )
    raise typer.Exit(ExitCode.OK if is_healthy else ExitCode.BAD_INPUT)


def _facts(result: CheckResult) -> dict[str, str]:
    return {"check": result.check, "state": result.state, "said": result.message, "remedy": result.hint}


def _run_checks(source: Path | None, *, may_write: bool) -> Iterator[CheckResult]:
    try:
        settings = settings_for(source)
    except ConfigurationError as error:
        yield failed_check("settings", error)
        return
    yield _report_settings(settings)
    lake_location = list(_check_location(settings))
    yield from lake_location
    # The last result shows whether the lake can be checked.
    if lake_location[-1].state is CheckStatus.OK:
        yield from check_lake(open_store(settings, for_writing=False), may_write=may_write)
    yield from _check_events(settings, may_write=may_write)
    yield from check_machine(settings)
    yield check_dagster(settings)


def _report_settings(settings: Settings) -> CheckResult:
    where = f"S3 bucket {settings.bucket}" if settings.use_s3_data else f"local folder {settings.lake_dir}"
    by_origin: dict[str, list[str]] = {}
    for name, origin in setting_sources().items():
        by_origin.setdefault(origin, []).append(name)
    origins = "; ".join(f"{origin} sets {', '.join(names)}" for origin, names in by_origin.items())
    return CheckResult(
        "settings", CheckStatus.OK, f"the lake is the {where}; {origins or 'no variables are set, the defaults apply'}"
    )


def _check_location(settings: Settings) -> Iterator[CheckResult]:
    if not settings.use_s3_data:
        yield check_folder(settings.lake_dir)
        return
    from apex_pipeline.ops.doctor_s3 import check_bucket  # noqa: PLC0415  -- boto3 is imported only where it is used

    yield from check_bucket(settings, setting_sources())


def _check_events(settings: Settings, *, may_write: bool) -> Iterator[CheckResult]:
    if settings.event_bucket is None:
        return
    from apex_pipeline.ops.doctor_events import check_events  # noqa: PLC0415  -- as above

    yield from check_events(settings, setting_sources(), may_write=may_write)


def _print_result(result: CheckResult) -> None:
    separator = " " if result.message.endswith(".") else ". "
    print_line(f"{result.state:<8}", style=_COLOURS[result.state], end="")
    print_line(f" {result.check}: " + separator.join(part for part in (result.message, result.hint) if part))
