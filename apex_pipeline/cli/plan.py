"""Implements ``apex plan``; see ops/estimate.py for what a sync would do and ops/cost.py for the prices."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from apex_pipeline.cli.emit import TextTable, print_line
from apex_pipeline.cli.format import count, dollars, size
from apex_pipeline.cli.listing import Listing, lists
from apex_pipeline.cli.options import SourceArgument, settings_for
from apex_pipeline.cli.progress import hashing_progress
from apex_pipeline.ingest.scan import scan_source
from apex_pipeline.ingest.sync_plan import empty_lake, list_lake_if_exists, plan_sync
from apex_pipeline.ops.cost import BYTES_PER_GB, PRICE_DATE, PRICE_SOURCE, Usage, monthly_cost, total_usd
from apex_pipeline.ops.estimate import FileGroup, SyncEstimate, estimate_sync
from apex_pipeline.settings import Settings
from apex_pipeline.storage.factory import open_digest_cache, open_store
from apex_pipeline.storage.temp_dirs import DiskSpace, disk_space

# Maximum names shown per list; the rest are only counted. --json lists all.
_SHOWN = 8

_GROUPS = {
    "new": "new, to copy",
    "changed": "changed, to copy",
    "unchanged": "unchanged",
    "gone": "not in the source (a sync never deletes)",
    "ignored": "ignored (not race data)",
}
_SCHEMA = pa.schema([(name, pa.string()) for name in ("path", "state", "reason")])


@dataclass(frozen=True)
class _Plan:
    """An estimate of a sync, with its source and lake."""

    settings: Settings
    source: Path | str
    lake: str
    lake_exists: bool
    estimate: SyncEstimate

    @property
    def groups(self) -> dict[str, FileGroup]:
        """The files, grouped by what a sync would do with them."""
        estimate = self.estimate
        copied, kept = (estimate.new, estimate.changed), (estimate.unchanged, estimate.missing_from_source)
        return dict(zip(_GROUPS, (*copied, *kept, estimate.ignored), strict=True))

    @property
    def disk(self) -> DiskSpace:
        return disk_space(self.settings.lake_dir)

    @property
    def requests_usd(self) -> float:
        requests = self.estimate.requests
        return total_usd(monthly_cost(Usage(puts=requests.puts + requests.lists, gets=requests.gets)))

    @property
    def storage_usd(self) -> tuple[float, float]:
        """Dollars per month for the growth of the lake, and for the whole lake after the sync."""
        before, growth = self.estimate.lake_bytes, self.estimate.growth_bytes
        return _storage_usd(growth), _storage_usd(before + growth)


@lists
def plan_command(source: SourceArgument = None) -> Listing:
    """Show what `apex sync` would do: files, sessions, requests, dollars. Nothing is sent."""
    plan = _build_plan(settings_for(source))
    estimate = plan.estimate
    facts: dict[str, Any] = {"source": plan.source, "lake": plan.lake, "lake_exists": plan.lake_exists}
    facts |= {
        name: {"files": files.count, "bytes": files.bytes, "paths": files.paths} for name, files in plan.groups.items()
    }
    facts |= {
        "refused": [{"path": path, "reason": reason} for path, reason in estimate.refused],
        "sessions": [str(key) for key in estimate.sessions],
        "is_catalog_stale": estimate.is_catalog_stale,
        "bytes_to_copy": estimate.bytes_to_copy,
        **(_s3_facts(plan) if plan.settings.use_s3_data else _disk_facts(plan)),
    }
    return Listing(
        pa.Table.from_pylist(_rows(plan), _SCHEMA),
        "What a sync would do with each file",
        keys=2,
        folder_of="path",
        document=facts,
        render=lambda: _print_plan(plan),
    )


def _rows(plan: _Plan) -> list[dict[str, str]]:
    rows = [{"path": path, "state": state} for state, files in plan.groups.items() for path in files.paths]
    return rows + [{"path": path, "state": "refused", "reason": why} for path, why in plan.estimate.refused]


def _build_plan(settings: Settings) -> _Plan:
    folder = scan_source(settings)
    store = open_store(settings, for_writing=False)
    listing = list_lake_if_exists(store)
    readable = store if listing is not None else empty_lake(settings)
    with hashing_progress(folder.bytes) as count_bytes:
        plan = plan_sync(readable, settings, folder, open_digest_cache(settings, count_bytes), listing or {})
    lake_exists = listing is not None and (settings.use_s3_data or settings.lake_dir.is_dir())
    return _Plan(settings, folder.root, store.uri, lake_exists, estimate_sync(plan, folder))


def _storage_usd(number: int) -> float:
    return total_usd(monthly_cost(Usage(storage_gb=max(number, 0) / BYTES_PER_GB)))


def _s3_facts(plan: _Plan) -> dict[str, Any]:
    requests, (growth_usd, whole_usd) = plan.estimate.requests, plan.storage_usd
    return {
        "requests": {"put": requests.puts, "list": requests.lists, "get": requests.gets},
        "requests_usd": plan.requests_usd,
        "storage_growth_usd_per_month": growth_usd,
        "storage_usd_per_month": whole_usd,
        "price_date": PRICE_DATE,
        "price_source": PRICE_SOURCE,
    }


def _disk_facts(plan: _Plan) -> dict[str, Any]:
    return {"disk_free_bytes": plan.disk.free, "disk_is_enough": plan.estimate.bytes_to_copy < plan.disk.free}


def _print_plan(plan: _Plan) -> None:
    print_line(f"Source    {plan.source}")
    print_line(f"Lake      {plan.lake}{_lake_note(plan)}")
    table = TextTable(["files"], ["number", "size"])
    for name, files in plan.groups.items():
        table.add(_GROUPS[name], f"{files.count:,}", size(files.bytes))
    table.show()
    _print_paths("Changed", list(plan.estimate.changed.paths))
    _print_paths("Not in the source, kept in the lake", list(plan.estimate.missing_from_source.paths))
    _print_paths("Cannot be read", [f"{path}: {reason}" for path, reason in plan.estimate.refused])
    print_line(f"Sessions  {_sessions(plan.estimate)}")
    if plan.settings.use_s3_data:
        _print_requests(plan)
    else:
        _print_disk(plan)
    print_line("Nothing was sent or written. `apex sync` does it.")


def _lake_note(plan: _Plan) -> str:
    if plan.lake_exists:
        return f" ({size(plan.estimate.lake_bytes)})" if plan.estimate.lake_bytes else " (empty so far)"
    if plan.settings.allow_create_bucket or not plan.settings.use_s3_data:
        return " (does not exist yet; a sync creates it)"
    return " (the bucket does not exist yet; a sync creates it only with ALLOW_CREATE_BUCKET=true)"


def _sessions(estimate: SyncEstimate) -> str:
    if estimate.sessions:
        named = ", ".join(map(str, estimate.sessions[:_SHOWN]))
        rest = len(estimate.sessions) - _SHOWN
        return f"{len(estimate.sessions)} to derive: {named}{f' and {rest} more' if rest > 0 else ''}"
    return "none to derive" + ("; the catalog is rebuilt" if estimate.is_catalog_stale else "")


def _print_requests(plan: _Plan) -> None:
    requests = plan.estimate.requests
    growth_usd, whole_usd = map(dollars, plan.storage_usd)
    about = "about " if requests.puts else ""
    print_line(
        f"Requests  {requests.puts:,} PUT, {about}{requests.lists:,} LIST, {about}{requests.gets:,} GET and HEAD"
    )
    print_line(f"Cost      {dollars(plan.requests_usd)} once for the requests")
    print_line(f"          {growth_usd} a month more for storage, {whole_usd} a month for the whole lake")
    print_line(f"          prices of {PRICE_DATE}: {PRICE_SOURCE}")
    if plan.settings.s3_endpoint_url:
        print_line(f"          {plan.settings.s3_endpoint_url} is not AWS and may have other prices")


def _print_disk(plan: _Plan) -> None:
    disk, needed = plan.disk, plan.estimate.bytes_to_copy
    enough = "" if needed < disk.free else ", which is not enough"
    print_line(f"Disk      {size(needed)} to copy, {size(disk.free)} free in {disk.folder}{enough}")


def _print_paths(title: str, paths: list[str]) -> None:
    if not paths:
        return
    print_line(f"{title}: {count(len(paths), 'file')}")
    for path in paths[:_SHOWN]:
        print_line(f"  {path}")
    if len(paths) > _SHOWN:
        print_line(f"  … and {len(paths) - _SHOWN:,} more; --json lists them all")
