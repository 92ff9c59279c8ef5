"""Translates a table's schema into a Dagster column schema, for the catalog pages of the UI.

See ``tables/__init__.py`` for the schemas themselves.
"""

import dagster as dg
import pyarrow as pa

from apex_pipeline.tables.model import Table


def column_schema(schema: pa.Schema) -> dg.TableSchema:
    """Return Dagster's column schema for an Arrow schema whose fields carry description and unit."""
    return dg.TableSchema(columns=[_column(field) for field in schema])


def table_metadata(table: Table) -> dict[str, object]:
    """Return the metadata for an asset's definition, so its page lists the columns before the first run."""
    return {
        "dagster/column_schema": column_schema(table.schema),
        "dagster/table_name": ".".join(table.asset_key),
        "dagster/storage_kind": "parquet",
    }


def _column(field: pa.Field) -> dg.TableColumn:
    metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    unit = metadata.get("unit")
    return dg.TableColumn(
        name=field.name,
        type=_type_name(field.type),
        constraints=dg.TableColumnConstraints(nullable=field.nullable),
        description=f"{metadata.get('description', '')} [{unit}]" if unit else metadata.get("description"),
    )


def _type_name(kind: pa.DataType) -> str:
    """Return a readable type name; for dictionary-encoded labels, that of the value type."""
    return str(kind.value_type) if isinstance(kind, pa.DictionaryType) else str(kind)
