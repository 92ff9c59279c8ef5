"""Defines the checks of session tables, and those shared by all sources: schema, and rows where rows must exist.

A check is part of the step that makes its table and looks at the written file, not at the data in memory. It has one
result per session. Without rows there is nothing to check: then a check passes only if the session has no file from
which the rows could come, and says so. See ``tables/model.py`` for the schema rules and
https://docs.dagster.io/guides/test/asset-checks
"""

import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.errors import SchemaViolationError
from apex_pipeline.lake.objects import open_table_file
from apex_pipeline.lake.records import SessionRecord
from apex_pipeline.lake.tables import PresentTables
from apex_pipeline.orchestration.partitions import sessions
from apex_pipeline.orchestration.table_files import check_groups, row_groups
from apex_pipeline.sources.base import FileIdentity, Source
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.tables.model import Table

_WARN = dg.AssetCheckSeverity.WARN


class SessionTables:
    """The tables that the checks of a step look at: the files it has just written, else those derived before.

    Args:
        store: The lake.
        record: The session's record.
        source: The source of the tables.
        present: The tables derived before.
    """

    def __init__(self, store: ObjectStore, record: SessionRecord, source: Source, present: PresentTables) -> None:
        self._store = store
        self._record = record
        self._source = source
        self._present = present
        self._paths: dict[str, Path] = {}
        self._read: dict[str, pa.Table] = {}

    def add(self, table: Table, path: Path) -> None:
        """Note the local copy of a file that was written."""
        self._paths[table.name] = path

    def has(self, table: Table) -> bool:
        """Return whether a table was written or derived before."""
        return table.name in self._paths or self._present.has(table)

    @contextmanager
    def open(self, table: Table) -> Generator[Path]:
        """Provide a table as a local file.

        Raises:
            ObjectMissingError: It has not been derived from the session's present files.
        """
        if table.name in self._paths:
            yield self._paths[table.name]
            return
        with open_table_file(self._store, self._present.find(table)) as path:
            yield path

    def read(self, table: Table) -> pa.Table:
        """Return the rows of a table other than telemetry, which may not fit into memory."""
        if table.name not in self._read:
            self._read[table.name] = self._rows(table)
        return self._read[table.name]

    def _rows(self, table: Table) -> pa.Table:
        if table.name not in self._paths:
            return self._present.read(table)
        with pq.ParquetFile(self._paths[table.name]) as file:
            return file.read()

    def read_groups(self, table: Table) -> Iterator[pa.Table]:
        """Yield the rows of a table: those of telemetry by row group, of others at once, for the next check, too."""
        if not table.allows_extra_columns:
            yield self.read(table)
            return
        with self.open(table) as path:
            yield from row_groups(path)

    def inputs_of(self, table: Table) -> list[FileIdentity]:
        """Return the session's files that should give rows of this table."""
        kinds = self._source.table_inputs.get(table.name, ())
        return [file for file in self._record.identities(self._source.name) if file.kind in kinds]

    def without_rows(self, table: Table) -> dg.AssetCheckResult:
        """Return the result of a check for which a table has no row."""
        return nothing_to_check(table, len(self.inputs_of(table)))


Evaluate = Callable[[SessionTables], dg.AssetCheckResult]


@dataclass(frozen=True)
class TableCheck:
    """A check of one table of a session.

    Attributes:
        table: The table.
        name: Name of the check.
        description: What is checked, one sentence.
        is_blocking: Whether tables that fail are not published.
        evaluate: Returns the result.
    """

    table: Table
    name: str
    description: str
    is_blocking: bool
    evaluate: Evaluate

    @property
    def key(self) -> dg.AssetCheckKey:
        """Dagster's key of the check."""
        return dg.AssetCheckKey(dg.AssetKey(self.table.asset_key), self.name)

    @property
    def spec(self) -> dg.AssetCheckSpec:
        """Dagster's definition, with one result per session."""
        asset = dg.AssetKey(self.table.asset_key)
        return partitioned_check(self.name, asset, self.description, sessions, is_blocking=self.is_blocking)

    def result(self, found: dg.AssetCheckResult) -> dg.AssetCheckResult:
        """Return the result with the name of the check and its table."""
        return dg.AssetCheckResult(
            passed=found.passed,
            asset_key=dg.AssetKey(self.table.asset_key),
            check_name=self.name,
            metadata=found.metadata,
            severity=found.severity,
            description=found.description,
        )


def partitioned_check(
    name: str,
    asset: dg.AssetKey,
    description: str,
    partitions: dg.PartitionsDefinition[str],
    *,
    is_blocking: bool = False,
) -> dg.AssetCheckSpec:
    """Return Dagster's definition of a check that has one result per partition.

    ``partitions_def`` on a check is a preview feature of Dagster 1.13: without it, the results of all partitions would
    overwrite each other. It is used only here, and this is the only warning ignored.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(
            name, asset=asset, description=description, blocking=is_blocking, partitions_def=partitions
        )


def failing(result: dg.AssetCheckResult) -> bool:
    """Return whether a result of a blocking check keeps its table from being published."""
    return not result.passed and result.severity is dg.AssetCheckSeverity.ERROR


def nothing_to_check(table: Table, inputs: int) -> dg.AssetCheckResult:
    """Return the result of a check on a table without rows: a warning if there are files that should have given some.

    Args:
        table: The table.
        inputs: Number of files that should have given rows.
    """
    if inputs:
        return dg.AssetCheckResult(
            passed=False,
            severity=_WARN,
            description=f"Not checked: {table.name} has no rows, although {inputs} files should have given some.",
        )
    return dg.AssetCheckResult(passed=True, description=f"Nothing to check: no file gives rows of {table.name}.")


def shared_checks(source: Source, tables: Iterable[Table]) -> list[TableCheck]:
    """Return the checks that every table of a source has."""
    tables = list(tables)
    return [
        *(_schema_check(table) for table in tables),
        *(_rows_check(table) for table in tables if table.name in source.table_inputs),
    ]


def _schema_check(table: Table) -> TableCheck:
    def evaluate(tables: SessionTables) -> dg.AssetCheckResult:
        return schema_result(tables.read_groups(table), table)

    return TableCheck(table, "matches_schema", schema_sentence(table), is_blocking=True, evaluate=evaluate)


def _rows_check(table: Table) -> TableCheck:
    def evaluate(tables: SessionTables) -> dg.AssetCheckResult:
        inputs = tables.inputs_of(table)
        with tables.open(table) as path:
            rows = pq.read_metadata(path).num_rows
        if not inputs:
            found = f"No file of the session should give rows of {table.name}."
            return dg.AssetCheckResult(passed=True, metadata={"rows": rows, "files": 0}, description=found)
        return dg.AssetCheckResult(passed=rows > 0, metadata={"rows": rows, "files": len(inputs)})

    sentence = f"{table.name} has rows if the session has files that should give some."
    return TableCheck(table, "has_rows", sentence, is_blocking=False, evaluate=evaluate)


def schema_sentence(table: Table) -> str:
    """Return the description of the schema check of a table."""
    return f"Columns, types, bounds and key of {table.name} are as declared."


def schema_result(groups: Iterable[pa.Table], table: Table) -> dg.AssetCheckResult:
    """Return the result of the schema check of a table, given by its row groups."""
    try:
        rows = check_groups(groups, table)
    except SchemaViolationError as error:
        return dg.AssetCheckResult(passed=False, metadata={"problem": error.problem})
    return dg.AssetCheckResult(passed=True, metadata={"rows": rows})


def check_specs(checks: Sequence[TableCheck]) -> list[dg.AssetCheckSpec]:
    """Return Dagster's definitions of the checks."""
    return [check.spec for check in checks]
