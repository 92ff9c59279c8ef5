"""Implements ``apex race``: upload, status, list, worker, reprocess, migrate; see races/ for what they do."""

from collections.abc import Collection
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import typer

from apex_pipeline.cli.emit import emit, print_line
from apex_pipeline.cli.listing import Listing, lists
from apex_pipeline.cli.options import AsJson
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.exit_codes import ExitCode
from apex_pipeline.races.database import HEAD, open_database
from apex_pipeline.races.queues import LocalQueue, uses_redis
from apex_pipeline.races.services import RaceServices, opened_services
from apex_pipeline.races.submit import submit_race
from apex_pipeline.races.views import RaceView, check_race_id, list_races, outdated_races, view_race
from apex_pipeline.races.worker import is_worker_alive, run_rq_worker
from apex_pipeline.settings import load_settings
from apex_pipeline.sources.ams2.recording import PARSER_VERSION

race_app = typer.Typer(help="Upload AMS2 races, follow them, and run their worker.", no_args_is_help=True)

_COLUMNS = ("race_id", "status", "created_at", "laps_count", "error")
_RACES = pa.schema([(one.name, pa.int64() if one.type is int else pa.string()) for one in fields(RaceView)])

RaceId = Annotated[str, typer.Argument(help="Id of the race, as `apex race list` shows it.")]


@race_app.command("upload")
def upload_race(
    file: Annotated[Path, typer.Argument(help="The compressed race: zlib, raw deflate, gzip or .ams2rec.")],
    force: Annotated[bool, typer.Option("--force", help="Make a new race of bytes uploaded before.")] = False,
    as_json: AsJson = False,
) -> None:
    """Store a race and put it into the queue; `apex race status` tells when it is ready."""
    with opened_services(load_settings()) as services:
        answer = submit_race(services, file, force=force)
    facts = {name: value for name, value in asdict(answer).items() if value is not None}
    emit(facts, as_json=as_json, render=lambda: _print_facts(facts))


@race_app.command("status")
def show_status(race_id: RaceId, as_json: AsJson = False) -> None:
    """Show the status of a race."""
    with opened_services(load_settings()) as services:
        facts = asdict(view_race(services.database, check_race_id(race_id)))
    shown = {name: value for name, value in facts.items() if value is not None}
    emit(facts, as_json=as_json, render=lambda: _print_facts(shown))


@race_app.command("list")
@lists
def show_list(
    status: Annotated[str | None, typer.Option(help="Only races that are Processing, Ready or Failed.")] = None,
    limit: Annotated[int, typer.Option(help="Most races shown.", min=1)] = 100,
    offset: Annotated[int, typer.Option(help="Races to skip.", min=0)] = 0,
) -> Listing:
    """List the races, newest first."""
    with opened_services(load_settings()) as services:
        races = list_races(services.database, status=status, limit=limit, offset=offset)
    rows = pa.Table.from_pylist([asdict(race) for race in races], _RACES)
    return Listing(rows, "Races, newest first", _COLUMNS, empty="There is no such race." if status else "No races yet.")


@race_app.command("worker")
def run_worker(
    burst: Annotated[bool, typer.Option("--burst", help="End when there is nothing left to do.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only say whether a worker of Redis lives here.")] = False,
) -> None:
    """Process races as they come: as a worker of RQ, or without Redis as runs of Dagster, one after the other."""
    settings = load_settings()
    if check:
        is_alive = is_worker_alive(settings)
        print_line("A worker lives here." if is_alive else "No worker lives here. Start one with `apex race worker`.")
        raise typer.Exit(ExitCode.OK if is_alive else ExitCode.SOME_FAILED)
    if uses_redis(settings):
        run_rq_worker(settings, burst=burst)
        return
    with opened_services(settings) as services:
        if not isinstance(services.queue, LocalQueue):
            raise ConfigurationError("There is no queue on this machine.", "Unset REDIS_HOST and REDIS_URL.")
        with services.queue.working() as is_first:
            if not is_first:
                print_line("Another process on this machine works on the races already.")
                return
            from apex_pipeline.orchestration.race_worker import work_on_races  # noqa: PLC0415  -- loads Dagster, 2 s

            work_on_races(services, _print_race, burst=burst)


@race_app.command("migrate")
def migrate() -> None:
    """Bring the tables of the database up to date; every other command and the API do so, too, when they start."""
    database = open_database(load_settings())
    try:
        print_line(f"{database.place} has the tables of version {HEAD}.")
    finally:
        database.close()


@race_app.command("reprocess")
def reprocess(
    race_ids: Annotated[list[str] | None, typer.Argument(help="Ids of the races.", show_default=False)] = None,
    outdated: Annotated[
        bool, typer.Option("--outdated", help="Every race that another version of the parser has read.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Read races again from their uploaded bytes, each in a run of Dagster; ids and links of their laps stay."""
    if not race_ids and not outdated:
        raise ConfigurationError("No race is named.", "Give ids of races, or --outdated.")
    with opened_services(load_settings()) as services:
        chosen = [check_race_id(race_id) for race_id in race_ids or []]
        if outdated:
            chosen += outdated_races(services.database, PARSER_VERSION)
        results = _reprocessed(services, dict.fromkeys(chosen))
    emit(results, as_json=as_json, render=lambda: _print_results(results))
    if any(result["status"] != "Ready" for result in results):
        raise typer.Exit(ExitCode.SOME_FAILED)


def _reprocessed(services: RaceServices, race_ids: Collection[str]) -> list[dict[str, object]]:
    if not race_ids:
        return []
    from apex_pipeline.orchestration.race_worker import reprocess_races  # noqa: PLC0415  -- loads Dagster, 2 s

    return [asdict(result) for result in reprocess_races(services, race_ids)]


def _print_facts(facts: dict[str, object]) -> None:
    width = max(map(len, facts))
    for name, value in facts.items():
        print_line(f"{name:<{width}}  {value}")


def _print_race(race: RaceView) -> None:
    print_line(f"{race.race_id}  {race.status}  {race.laps_count} laps  {race.error or ''}".rstrip())


def _print_results(results: list[dict[str, object]]) -> None:
    for result in results:
        print_line(f"{result['race_id']}  {result['status']}  {result['laps']} laps  {result['error']}".rstrip())
