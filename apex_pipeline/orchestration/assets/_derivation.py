"""Runs one derivation step of a session: reads its record and files, writes tables, checks them and lists them.

Every step that derives tables of a session goes through :func:`derive_tables`, so that all of them keep the same order:
nothing is read but the files the session's record names; each table is written as an object; its checks read the
written file; and only if all blocking checks passed are the tables listed as derived, which publication requires.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
import pyarrow.parquet as pq

from apex_pipeline.errors import PermanentError
from apex_pipeline.lake.derived import add_derived, add_failed
from apex_pipeline.lake.objects import write_table_file
from apex_pipeline.lake.published_session import TableRecord
from apex_pipeline.lake.raw_files import recorded_file_opener
from apex_pipeline.lake.records import SessionRecord, require_record
from apex_pipeline.lake.tables import PresentTables
from apex_pipeline.orchestration.assets._discovery import leased
from apex_pipeline.orchestration.checks import SessionTables, TableCheck, failing
from apex_pipeline.orchestration.failures import CHECK_FAILED, dagster_failure
from apex_pipeline.orchestration.metadata import size_metadata
from apex_pipeline.orchestration.partitions import session_key_from, sessions
from apex_pipeline.orchestration.pictures import pictures_of
from apex_pipeline.orchestration.resources import LakeResource
from apex_pipeline.orchestration.table_schema import column_schema, table_metadata
from apex_pipeline.progress import ByteProgressLog
from apex_pipeline.sources.base import DerivedTable, FileIdentity, FileOpener, Source, tables_of
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import object_key
from apex_pipeline.storage.leases import Lease
from apex_pipeline.tables.model import ZSTD_LEVEL, Table
from apex_pipeline.tables.session_key import SessionKey

StepEvent = dg.MaterializeResult[Any] | dg.AssetCheckResult
StepEvents = Iterator[StepEvent]


def table_specs(
    source: Source,
    group: str,
    tables: Iterable[Table],
    inputs: Iterable[Table] = (),
    lineage: Callable[[Table], dg.TableColumnLineage] | None = None,
) -> list[dg.AssetSpec]:
    """Return the assets of tables that one step makes.

    Args:
        source: The source they belong to.
        group: Name of the group within ``tables``.
        tables: The tables.
        inputs: Tables of the same session that the step reads.
        lineage: Returns the columns that a table is made from.
    """
    deps = [dg.AssetKey(["lake", "session"]), *(dg.AssetKey(table.asset_key) for table in inputs)]
    return [
        dg.AssetSpec(
            table.asset_key,
            deps=deps,
            partitions_def=sessions,
            group_name=f"tables/{group}",
            kinds={"parquet"},
            tags={"apex/source": source.name},
            code_version=source.derivation_version,
            description=table.description,
            metadata=table_metadata(table) | ({"dagster/column_lineage": lineage(table)} if lineage else {}),
        ).with_io_manager_key("parquet_io")
        for table in tables
    ]


@dataclass(frozen=True)
class StepInputs:
    """What a derivation step reads: its session's record, the files it names, and tables derived from these before.

    Attributes:
        key: The session.
        record: Its record.
        source: The source whose tables are derived.
        store: The lake.
        workspace: Memory and disk the derivation may use.
        log: Counts the raw bytes that were read.
    """

    key: SessionKey
    record: SessionRecord
    source: Source
    store: ObjectStore
    workspace: Workspace
    log: ByteProgressLog

    @property
    def files(self) -> list[FileIdentity]:
        """The session's files of this source."""
        return self.record.identities(self.source.name)

    @property
    def open_file(self) -> FileOpener:
        """Opens one of these files, as it is recorded."""
        return recorded_file_opener(self.store, self.record)

    @cached_property
    def present(self) -> PresentTables:
        """Tables of the session that were derived from its present files before."""
        return PresentTables(self.store, self.record)


Derive = Callable[[StepInputs], Iterable[DerivedTable]]


def derive_tables(
    context: dg.AssetExecutionContext,
    lake: LakeResource,
    source: Source,
    checks: Sequence[TableCheck],
    derive: Derive,
) -> StepEvents:
    """Derive, write and check the selected tables, and list them as derived if no blocking check failed.

    Args:
        context: The step.
        lake: The lake.
        source: The source of the tables.
        checks: The checks of the tables that the step derives.
        derive: Yields these tables. It is not called if only checks are selected, which then read the tables derived
            before.

    Raises:
        dagster.Failure: A blocking check failed, and the tables are not listed, so they will not be published; or the
            session has no record or no usable file, or the derivation failed.
    """
    with dagster_failure(context):
        key, store = session_key_from(context), lake.open()
        with leased(context, store, key, f"deriving {context.op_execution_context.op_handle.name}") as lease:
            record = require_record(store, key)
            log = ByteProgressLog("read", source.work_bytes(record.identities(source.name)), context.log.info)
            inputs = StepInputs(key, record, source, store, lake.workspace, log)
            step = _Step(context, lease, inputs, checks)
            events = list(step.run(derive))
        # Yielded after the lease was released: Dagster may keep the generator of a step that fails.
        yield from events
        if step.failure is not None:
            raise step.failure


class _Step:
    """One derivation step, under the session's lease.

    Args:
        context: The step.
        lease: The session's lease.
        inputs: What it reads.
        checks: The checks of its tables.
    """

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        lease: Lease,
        inputs: StepInputs,
        checks: Sequence[TableCheck],
    ) -> None:
        self._context = context
        self._lease = lease
        self._inputs = inputs
        self._selected = {key.path[-1] for key in context.selected_asset_keys}
        self._checks = [check for check in checks if check.key in context.selected_asset_check_keys]
        self._written: dict[str, TableRecord] = {}
        self._facts: dict[str, dict[str, Any]] = {}
        self.failure: dg.Failure | None = None

    def run(self, derive: Derive) -> StepEvents:
        """Yield what is to be recorded, and keep the failure if a blocking check failed.

        Raises:
            PermanentError: A required table was not derived.
        """
        inputs = self._inputs
        if not inputs.files:
            yield from self._absent(self._selected, f"The session has no file of the source {inputs.source.name}.")
            return
        with TemporaryDirectory(dir=inputs.workspace.scratch) as folder:
            tables = SessionTables(inputs.store, inputs.record, inputs.source, inputs.present)
            if self._selected:
                self._write(derive(inputs), tables, Path(folder))
            results = {check: check.evaluate(tables) for check in self._checks if self._has(check.table)}
            failed = [check for check in results if check.is_blocking and failing(results[check])]
            if not failed:
                self._draw(tables)
        self._list(failed)
        if failed:
            self.failure = self._failure_of(failed, results)
        else:
            yield from map(self._materialization, self._written)
            missing = self._selected - self._written.keys()
            yield from self._absent(missing, f"The source {inputs.source.name} derived no such table.")
        yield from (check.result(result) for check, result in results.items())

    def _has(self, table: Table) -> bool:
        """Return whether a check can read a table: it was written, or it was not selected."""
        return table.name in self._written or table.name not in self._selected

    def _write(self, made: Iterable[DerivedTable], tables: SessionTables, folder: Path) -> None:
        for derived in made:
            name = derived.table.name
            path = _staged(derived, folder)
            tables.add(derived.table, path)
            for warning in derived.warnings:
                self._context.log.warning(warning)
            if name in self._selected:
                self._written[name] = write_table_file(self._inputs.store, name, self._inputs.key, path)
                self._facts[name] = {**derived.facts, **_new_columns(derived.table, path)}
        source = self._inputs.source
        missing = {table.name for table in source.required_tables} & self._selected - self._written.keys()
        if missing:
            raise PermanentError(
                f"The source {source.name} did not derive {', '.join(sorted(missing))} of {self._inputs.key}.",
                "This is a defect of the source; please report it.",
            )

    def _draw(self, tables: SessionTables) -> None:
        for table in tables_of(self._inputs.source):
            if table.name in self._written:
                self._facts[table.name].update(pictures_of(table, tables))

    def _list(self, failed: Sequence[TableCheck]) -> None:
        """Add the tables to the session's list, or the checks that failed, so that no run publishes it meanwhile."""
        record = self._inputs.record
        names: dict[str, list[str]] = {}
        for check in failed:
            names.setdefault(check.table.name, []).append(check.name)
        self._lease.require()
        if failed:
            add_failed(self._inputs.store, self._inputs.key, record.inputs_version, self._written, names)
        elif self._written:
            add_derived(self._inputs.store, self._inputs.key, record.inputs_version, self._written)

    def _materialization(self, name: str) -> StepEvent:
        record, key = self._written[name], dg.AssetKey(["tables", name])
        # Added to the materialization: metadata of the result would be stored a second time, with the step's output.
        self._context.add_asset_metadata(
            {
                "dagster/uri": self._inputs.store.uri_of(object_key(record.sha256)),
                "dagster/partition_row_count": record.rows,
                **size_metadata(record.bytes),
                "sha256": record.sha256,
                **self._facts[name],
            },
            asset_key=key,
        )
        return dg.MaterializeResult(asset_key=key, data_version=dg.DataVersion(record.sha256[:16]))

    def _absent(self, names: Iterable[str], reason: str) -> StepEvents:
        """Record that a session does not have these tables; without that, Dagster would skip the steps behind."""
        absent = set(names)
        for name in sorted(absent):
            yield dg.MaterializeResult(
                asset_key=dg.AssetKey(["tables", name]), metadata={"note": reason}, data_version=dg.DataVersion("none")
            )
        for check in self._checks:
            if check.table.name in absent:
                yield check.result(dg.AssetCheckResult(passed=True, description=f"Nothing to check: {reason}"))

    def _failure_of(
        self, failed: Sequence[TableCheck], results: Mapping[TableCheck, dg.AssetCheckResult]
    ) -> dg.Failure:
        findings = "; ".join(f"{check.table.name}: {check.name} {_finding(results[check])}" for check in failed)
        problem = f"Tables of {self._inputs.key} are not published, because a check of them failed: {findings}."
        hint = "What was published before stays. If the file that the check names is right, please report the check."
        return dg.Failure(
            description=f"{problem} {hint}",
            metadata={"problem": problem, "remedy": hint, "error": CHECK_FAILED},
            allow_retries=False,
        )


def _staged(derived: DerivedTable, folder: Path) -> Path:
    """Return the table as a file in the folder."""
    path = folder / f"{derived.table.name}.parquet"
    if isinstance(derived.content, Path):
        shutil.move(derived.content, path)
    else:
        pq.write_table(derived.content, path, compression="zstd", compression_level=ZSTD_LEVEL)
    return path


def _new_columns(table: Table, path: Path) -> dict[str, Any]:
    """Return the columns as metadata if they differ from the asset's definition."""
    schema = pq.read_schema(path)
    return {} if schema.names == table.schema.names else {"dagster/column_schema": column_schema(schema)}


def _finding(result: dg.AssetCheckResult) -> str:
    facts = ", ".join(f"{name} {value.value}" for name, value in result.metadata.items() if name != "object")
    return f"({facts})"
