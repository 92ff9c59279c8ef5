"""``apex plan``: what a sync would do now, what it sends and what that costs; it sends nothing.

Here belongs the printing; the forecast is ``lake/forecast.py``, the prices are ``lake/cost.py``.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table as RichTable

from apex_pipeline.cli.console import console
from apex_pipeline.cli.figures import count, dollars, size
from apex_pipeline.cli.read import AsJson
from apex_pipeline.lake.comparison import LakeState, look_at_possible_lake, look_at_source
from apex_pipeline.ops.cost import BYTES_PER_GB, PRICE_DATE, PRICE_SOURCE, Usage, monthly_cost, total_usd
from apex_pipeline.ops.estimate import FileGroup as Files
from apex_pipeline.ops.estimate import SyncEstimate as Forecast
from apex_pipeline.ops.estimate import estimate_sync as foresee
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.storage.disk_space import DiskSpace, disk_space
from apex_pipeline.storage.opening import open_fingerprints, open_store

# Names a person is shown before the rest is only counted; --json has them all.
_SHOWN = 8


@dataclass(frozen=True)
class _Plan:
    """A forecast, and where it was made."""

    settings: Settings
    source: Path
    lake: str
    is_there: bool
    forecast: Forecast

    @property
    def parts(self) -> dict[str, Files]:
        """The files by what would become of them."""
        found = self.forecast
        named = {"new": found.new, "changed": found.changed, "unchanged": found.unchanged}
        return {**named, "gone": found.gone, "ignored": found.ignored}

    @property
    def disk(self) -> DiskSpace:
        return disk_space(self.settings.lake_dir)

    @property
    def requests_usd(self) -> float:
        requests = self.forecast.requests
        return total_usd(monthly_cost(Usage(puts=requests.puts + requests.lists, gets=requests.gets)))

    @property
    def storage_usd(self) -> tuple[float, float]:
        """Dollars a month for what the lake grows by, and for all of it then."""
        before, growth = self.forecast.lake_bytes, self.forecast.growth_bytes
        return _storage_usd(growth), _storage_usd(before + growth)


def plan_command(
    source: Annotated[
        Path | None, typer.Argument(help="Folder of race files; APEX_SOURCE_DIR without it.", show_default=False)
    ] = None,
    as_json: AsJson = False,  # noqa: FBT002  -- a command-line switch
) -> None:
    """Show what `apex sync` would do: files, sessions, requests, dollars. Nothing is sent."""
    plan = _make_plan(load_settings(**({"source_dir": source} if source else {})))
    if as_json:
        sys.stdout.write(json.dumps(_as_dict(plan)) + "\n")
    else:
        _print(plan)


def _make_plan(settings: Settings) -> _Plan:
    source = look_at_source(settings)
    store = open_store(settings, for_writing=False)
    lake = look_at_possible_lake(store)
    forecast = foresee(source, lake or LakeState.empty(), store, settings, open_fingerprints(settings))
    is_there = lake is not None and (settings.use_s3_data or settings.lake_dir.is_dir())
    return _Plan(settings, source.folder.root, store.uri, is_there, forecast)


def _storage_usd(number: int) -> float:
    return total_usd(monthly_cost(Usage(storage_gb=max(number, 0) / BYTES_PER_GB)))


def _as_dict(plan: _Plan) -> dict[str, Any]:
    forecast = plan.forecast
    facts: dict[str, Any] = {"source": str(plan.source), "lake": plan.lake, "lake_exists": plan.is_there}
    facts |= {
        name: {"files": part.count, "bytes": part.bytes, "paths": part.paths} for name, part in plan.parts.items()
    }
    facts["refused"] = [{"path": path, "reason": reason} for path, reason in forecast.refused]
    facts["sessions"] = [str(key) for key in forecast.sessions]
    facts["is_catalog_stale"] = forecast.is_catalog_stale
    facts["bytes_to_copy"] = forecast.bytes_to_copy
    return facts | (_s3_facts(plan) if plan.settings.use_s3_data else _disk_facts(plan))


def _s3_facts(plan: _Plan) -> dict[str, Any]:
    requests, (growth_usd, whole_usd) = plan.forecast.requests, plan.storage_usd
    return {
        "requests": {"put": requests.puts, "list": requests.lists, "get": requests.gets},
        "requests_usd": plan.requests_usd,
        "storage_growth_usd_per_month": growth_usd,
        "storage_usd_per_month": whole_usd,
        "price_date": PRICE_DATE,
        "price_source": PRICE_SOURCE,
    }


def _disk_facts(plan: _Plan) -> dict[str, Any]:
    return {"disk_free_bytes": plan.disk.free, "disk_is_enough": plan.forecast.bytes_to_copy < plan.disk.free}


def _print(plan: _Plan) -> None:
    _say(f"Source    {plan.source}")
    _say(f"Lake      {plan.lake}{_about_lake(plan)}")
    console().print(_table(plan))
    _print_paths("Changed", list(plan.forecast.changed.paths))
    _print_paths("Not in the source, kept in the lake", list(plan.forecast.gone.paths))
    _print_paths("Cannot be read", [f"{path}: {reason}" for path, reason in plan.forecast.refused])
    _say(f"Sessions  {_sessions(plan.forecast)}")
    if plan.settings.use_s3_data:
        _print_requests(plan)
    else:
        _print_disk(plan)
    _say("Nothing was sent or written. `apex sync` does it.")


def _about_lake(plan: _Plan) -> str:
    if plan.is_there:
        return f" ({size(plan.forecast.lake_bytes)})" if plan.forecast.lake_bytes else " (empty so far)"
    if plan.settings.allow_create_bucket or not plan.settings.use_s3_data:
        return " (not there yet; a sync makes it)"
    return " (there is no such bucket yet; a sync makes it only with ALLOW_CREATE_BUCKET=true)"


def _table(plan: _Plan) -> RichTable:
    table = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("files")
    table.add_column("number", justify="right")
    table.add_column("size", justify="right")
    meaning = {
        "new": "new, to copy",
        "changed": "changed, to copy",
        "gone": "not in the source (a sync never deletes)",
        "ignored": "ignored (not race data)",
    }
    for name, part in plan.parts.items():
        table.add_row(meaning.get(name, name), f"{part.count:,}", size(part.bytes))
    return table


def _sessions(forecast: Forecast) -> str:
    if forecast.sessions:
        named = ", ".join(map(str, forecast.sessions[:_SHOWN]))
        rest = len(forecast.sessions) - _SHOWN
        return f"{len(forecast.sessions)} to derive: {named}{f' and {rest} more' if rest > 0 else ''}"
    return "none to derive" + ("; the catalog is made again" if forecast.is_catalog_stale else "")


def _print_requests(plan: _Plan) -> None:
    requests = plan.forecast.requests
    growth_usd, whole_usd = map(dollars, plan.storage_usd)
    about = "about " if requests.puts else ""
    _say(f"Requests  {requests.puts:,} PUT, {about}{requests.lists:,} LIST, {about}{requests.gets:,} GET and HEAD")
    _say(f"Cost      {dollars(plan.requests_usd)} once for the requests")
    _say(f"          {growth_usd} a month more for storage, {whole_usd} a month for the whole lake")
    _say(f"          prices of {PRICE_DATE}: {PRICE_SOURCE}")
    if plan.settings.s3_endpoint_url:
        _say(f"          {plan.settings.s3_endpoint_url} is not AWS and may have other prices")


def _print_disk(plan: _Plan) -> None:
    disk, needed = plan.disk, plan.forecast.bytes_to_copy
    enough = "" if needed < disk.free else ": that is not enough"
    _say(f"Disk      {size(needed)} to copy, {size(disk.free)} free in {disk.folder}{enough}")


def _print_paths(title: str, paths: list[str]) -> None:
    if not paths:
        return
    _say(f"{title}: {count(len(paths), 'file')}")
    for path in paths[:_SHOWN]:
        _say(f"  {path}")
    if len(paths) > _SHOWN:
        _say(f"  … and {len(paths) - _SHOWN:,} more; --json names them all")


def _say(line: str) -> None:
    console().print(line, markup=False, highlight=False, soft_wrap=True)


__all__ = ["plan_command"]
